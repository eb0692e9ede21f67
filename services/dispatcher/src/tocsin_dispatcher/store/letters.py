"""Messages that could not be taken in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row

from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.notifications import Place
from tocsin_dispatcher.store.statement import (
    BYTES,
    FLAG,
    INSTANT,
    SMALL,
    TEXT,
    UUID_,
    UUIDS,
    Parameter,
    RowSet,
    statement,
)


@dataclass(frozen=True, slots=True)
class StoredLetter:
    """A message as it came, and how it stands."""

    id: UUID
    stream: str
    subject: str
    message_id: str
    error: str
    at: datetime
    taken_in_at: datetime | None
    size: int
    data: bytes = b""
    """Not read for a list."""


@dataclass(frozen=True, slots=True)
class StoredTry:
    """A time that a letter was tried again; `error` None: it was taken in."""

    at: datetime
    subject: str
    error: str | None


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters are meant; None does not filter."""

    stream: str | None = None
    error: str | None = None
    """Words in it."""
    since: datetime | None = None
    until: datetime | None = None


class Tried(NamedTuple):
    """What came of trying a letter; `error` None: it is taken in."""

    letter_id: UUID
    id: UUID
    error: str | None


_LETTERS = RowSet("x", id=UUID_, stream=TEXT, subject=TEXT, message_id=TEXT, bytes=BYTES, error=TEXT, at=INSTANT)

# Index dead_letters_named: one that is dead already for the same is not kept twice.
_INSERT = statement(
    f"""
INSERT INTO dead_letters (id, stream, subject, message_id, bytes, error, at)
SELECT x.* FROM {_LETTERS}
 WHERE x.message_id = '' OR NOT EXISTS (
       SELECT 1 FROM dead_letters l
        WHERE l.message_id = x.message_id AND l.stream = x.stream AND l.subject = x.subject AND l.error = x.error
          AND l.taken_in_at IS NULL)
""",  # noqa: S608 - the row set is of our own making
    _LETTERS,
)

_COLUMNS = "l.id, l.stream, l.subject, l.message_id, l.error, l.at, l.taken_in_at, length(l.bytes) AS size"
_FITS = """(CAST(:stream AS text) IS NULL OR l.stream = :stream)
   AND (CAST(:error AS text) IS NULL OR strpos(lower(l.error), lower(:error)) > 0)
   AND (CAST(:since AS timestamptz) IS NULL OR l.at >= :since)
   AND (CAST(:until AS timestamptz) IS NULL OR l.at < :until)"""
_FILTER: Mapping[str, Parameter] = {"stream": TEXT, "error": TEXT, "since": INSTANT, "until": INSTANT}

# Index dead_letters_waiting, else dead_letters_at, read backwards.
_LIST = statement(
    f"""
SELECT {_COLUMNS} FROM dead_letters l
 WHERE (:with_taken_in OR l.taken_in_at IS NULL) AND {_FITS}
   AND (CAST(:after_at AS timestamptz) IS NULL OR (l.at, l.id) < (:after_at, :after_id))
 ORDER BY l.at DESC, l.id DESC
 LIMIT :size
""",  # noqa: S608 - constants of our own
    **_FILTER,
    with_taken_in=FLAG,
    after_at=INSTANT,
    after_id=UUID_,
    size=SMALL,
)

# Index dead_letters_waiting, behind a place in it: what is dead still after it was tried is not tried again at once.
_WAITING = statement(
    f"""
SELECT {_COLUMNS}, l.bytes FROM dead_letters l
 WHERE l.taken_in_at IS NULL AND {_FITS}
   AND (CAST(:after_at AS timestamptz) IS NULL OR (l.at, l.id) > (:after_at, :after_id))
 ORDER BY l.at, l.id
 LIMIT :size
""",  # noqa: S608 - constants of our own
    **_FILTER,
    after_at=INSTANT,
    after_id=UUID_,
    size=SMALL,
)

# Primary key.
_NAMED = statement(
    f"SELECT {_COLUMNS}, l.bytes FROM dead_letters l WHERE l.id = ANY(:ids) ORDER BY l.at, l.id",  # noqa: S608
    ids=UUIDS,
)

# Primary key.
_TRIES = statement("SELECT at, subject, error FROM dead_letter_retries WHERE letter_id = :id ORDER BY at, id", id=UUID_)

_TRIED = RowSet("x", letter_id=UUID_, id=UUID_, error=TEXT)

# Primary key, in its order. One that was taken in before stays so. A letter that was forgotten meanwhile has no tries.
_NOTE_TRIES = statement(
    f"""
WITH tried AS (
  UPDATE dead_letters l
     SET error = CASE WHEN l.taken_in_at IS NULL THEN coalesce(x.error, l.error) ELSE l.error END,
         taken_in_at = CASE WHEN x.error IS NULL THEN coalesce(l.taken_in_at, :now) ELSE l.taken_in_at END
    FROM (SELECT * FROM {_TRIED} ORDER BY x.letter_id) x
   WHERE l.id = x.letter_id
  RETURNING l.id AS letter_id, x.id, x.error
)
INSERT INTO dead_letter_retries (letter_id, id, at, subject, error)
SELECT letter_id, id, :now, :subject, error FROM tried
""",  # noqa: S608 - the row set is of our own making
    _TRIED,
    subject=TEXT,
    now=INSTANT,
)


async def insert_letters(connection: Connection, rows: Sequence[tuple[object, ...]]) -> None:
    """Write rows of (id, stream, subject, message id, bytes, error, at)."""
    await connection.execute(_INSERT, _LETTERS.filled(rows))


async def list_letters(
    connection: Connection, wanted: LetterFilter, with_taken_in: bool, size: int, after: Place | None
) -> list[StoredLetter]:
    """A page, newest first, without the messages themselves."""
    values = {**_filter(wanted, after, size), "with_taken_in": with_taken_in}
    return [_letter(row) for row in await connection.execute(_LIST, values)]


async def letters_waiting(
    connection: Connection, wanted: LetterFilter, size: int, after: Place | None
) -> list[StoredLetter]:
    """The oldest that fit and are dead still, behind a place."""
    return [_letter(row) for row in await connection.execute(_WAITING, _filter(wanted, after, size))]


async def letters_named(connection: Connection, ids: Sequence[UUID]) -> list[StoredLetter]:
    """These, oldest first."""
    return [_letter(row) for row in await connection.execute(_NAMED, {"ids": list(ids)})]


async def tries_of(connection: Connection, id_: UUID) -> list[StoredTry]:
    """Each time a letter was tried again, oldest first."""
    return [StoredTry(row.at, row.subject, row.error) for row in await connection.execute(_TRIES, {"id": id_})]


async def note_tries(connection: Connection, tries: Sequence[Tried], subject: str, now: datetime) -> None:
    """Write what came of trying letters."""
    if tries:
        await connection.execute(_NOTE_TRIES, {**_TRIED.filled(tries), "subject": subject, "now": now})


def _filter(wanted: LetterFilter, after: Place | None, size: int) -> dict[str, object]:
    place = {"after_at": after and after.created_at, "after_id": after and after.id}
    return {**asdict(wanted), **place, "size": size}


def _letter(row: Row[Any]) -> StoredLetter:
    return StoredLetter(
        id=row.id,
        stream=row.stream,
        subject=row.subject,
        message_id=row.message_id,
        error=row.error,
        at=row.at,
        taken_in_at=row.taken_in_at,
        size=row.size,
        data=getattr(row, "bytes", b""),
    )
