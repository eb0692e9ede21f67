"""Messages that could not be taken in."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.statement import BYTES, INSTANT, TEXT, UUID_, RowSet, statement

_LETTERS = RowSet("x", id=UUID_, stream=TEXT, subject=TEXT, message_id=TEXT, bytes=BYTES, error=TEXT, at=INSTANT)

_INSERT = statement(
    f"INSERT INTO dead_letters (id, stream, subject, message_id, bytes, error, at) SELECT * FROM {_LETTERS}",  # noqa: S608
    _LETTERS,
)


async def insert_letters(connection: Connection, rows: Sequence[tuple[object, ...]]) -> None:
    """Write rows of (id, stream, subject, message id, bytes, error, at)."""
    await connection.execute(_INSERT, _LETTERS.filled(rows))
