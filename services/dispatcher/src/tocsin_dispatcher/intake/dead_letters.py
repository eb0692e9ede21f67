"""What cannot be taken in is kept, with its bytes and why, for a person to look at and to try again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from tocsin_dispatcher.store.database import Connection, Engine, in_transaction
from tocsin_dispatcher.store.letters import Tried, insert_letters, note_tries
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
    """Keeps them, and what came of trying them again."""

    engine: Engine
    clock: Clock
    ids: Ids

    async def keep(self, letters: Sequence[Letter]) -> None:
        """Store `letters`, each once however often its message comes; the messages may be terminated afterwards."""
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

    async def tried(self, outcomes: Sequence[tuple[UUID, str | None]], subject: str) -> None:
        """These letters, by id, were tried again for `subject`: why each is dead still, None where it is taken in."""
        now = self.clock.now()
        tries = [Tried(id_, self.ids.uuid7(), error) for id_, error in outcomes]

        async def work(connection: Connection) -> None:
            await note_tries(connection, tries, subject, now)

        await in_transaction(self.engine, work)
