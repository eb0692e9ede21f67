"""What cannot be taken in is kept, with its bytes and why, for a person to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from tocsin_dispatcher.store.database import Engine, in_transaction
from tocsin_dispatcher.store.letters import insert_letters
from tocsin_kit.clock import Clock
from tocsin_kit.ids import Ids

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as it came, and why it is dead."""

    stream: str
    subject: str
    message_id: str
    data: bytes
    error: str


@dataclass(frozen=True)
class DeadLetters:
    """Keeps them."""

    engine: Engine
    clock: Clock
    ids: Ids

    async def keep(self, letters: Sequence[Letter]) -> None:
        """Store `letters`; the messages may be terminated afterwards."""
        if not letters:
            return
        now = self.clock.now()
        rows = [
            (self.ids.uuid7(), letter.stream, letter.subject, letter.message_id, letter.data, letter.error, now)
            for letter in letters
        ]
        await in_transaction(self.engine, lambda connection: insert_letters(connection, rows))
        for letter in letters:
            _log.error("dead_letter", stream=letter.stream, message_id=letter.message_id, error=letter.error)
