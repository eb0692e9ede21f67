"""Turns whatever went wrong into an error of the closed list; the caller never learns more than that."""

from __future__ import annotations

import structlog
from google.protobuf.message import Message

from tocsin_kit.rpc.errors import Reason, TocsinError, unavailable
from tocsin_kit.rpc.stages.stage import Call, Proceed
from tocsin_kit.transient import is_transient

_log = structlog.get_logger(__name__)


async def failures(call: Call, proceed: Proceed) -> Message:
    """The answer. Raises TocsinError only; what nobody expected is logged and becomes `internal`."""
    try:
        return await proceed()
    except TocsinError as error:
        if error.reason is Reason.INTERNAL:
            _log.error("rpc_failed", rpc=call.method.path, error=str(error), exc_info=True)
        raise
    except Exception as error:
        if is_transient(error):
            _log.warning("rpc_unavailable", rpc=call.method.path, error=f"{type(error).__name__}: {error}")
            raise unavailable("a part of the service is away for the moment") from error
        _log.error("rpc_failed", rpc=call.method.path, exc_info=True)
        raise TocsinError("something went wrong on our side", Reason.INTERNAL) from error
