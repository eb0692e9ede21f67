"""What an exchange with a provider comes to, whatever its answer holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

import structlog

from tocsin_dispatcher.values import Outcome, OutcomeKind

Exchange = TypeVar("Exchange")
_log = structlog.get_logger(__name__)


def judged(judge: Callable[[Exchange], Outcome], exchange: Exchange, delivery_id: UUID) -> Outcome:
    """The outcome. A fault of ours in reading an answer is an unknown one, which counts against the provider as its
    silence does: it may have taken the message, and where no answer can be read it is left alone."""
    try:
        return judge(exchange)
    except Exception as error:
        _log.exception("answer_not_judged", delivery_id=str(delivery_id))
        return Outcome(OutcomeKind.UNKNOWN, answer=f"the answer cannot be judged: {type(error).__name__}")
