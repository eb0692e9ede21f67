"""The suppression list as people look at it and change it by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.notifications import Place
from tocsin_dispatcher.store.statement import BIG, BYTES, FLAG, INSTANT, SMALL, TEXT, UUID_, statement
from tocsin_dispatcher.store.suppressions import SAID_BY_BOTH, AddressKey
from tocsin_dispatcher.values import Channel


@dataclass(frozen=True, slots=True)
class Listed:
    """An address nothing is sent to, as its row stands."""

    id: UUID
    partner_id: int
    channel: Channel
    cause: SuppressionCause
    source: str
    note: str
    since: datetime
    lifted_at: datetime | None
    lifted_by: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which to list; None does not filter."""

    partner_id: int | None = None
    channel: Channel | None = None
    cause: SuppressionCause | None = None
    address_hash: bytes | None = None
    with_lifted: bool = False


# Index suppressions_of_partner where a bank is named, else suppressions_listed; of an address the primary key.
_LIST = statement(
    """
SELECT s.* FROM suppressions s
 WHERE (CAST(:partner_id AS bigint) IS NULL OR s.partner_id = :partner_id)
   AND (CAST(:channel AS text) IS NULL OR s.channel = :channel)
   AND (CAST(:cause AS text) IS NULL OR s.reason = :cause)
   AND (CAST(:address_hash AS bytea) IS NULL OR s.address_hash = :address_hash)
   AND (:with_lifted OR s.lifted_at IS NULL) AND s.said_at IS NOT NULL
   AND (CAST(:after_at AS timestamptz) IS NULL OR (s.at, s.id) < (:after_at, :after_id))
 ORDER BY s.at DESC, s.id DESC
 LIMIT :size
""",
    partner_id=BIG,
    channel=TEXT,
    cause=TEXT,
    address_hash=BYTES,
    with_lifted=FLAG,
    after_at=INSTANT,
    after_id=UUID_,
    size=SMALL,
)

# Primary key. One that stands keeps its beginning and its note, and who said so before.
_ADD = statement(
    f"""
INSERT INTO suppressions AS s (partner_id, channel, address_hash, reason, id, source, note, at, said_at)
VALUES (:partner_id, :channel, :address_hash, :cause, :id, :source, :note, :now, :now)
ON CONFLICT (partner_id, channel, address_hash, reason) DO UPDATE
   SET at = CASE WHEN s.lifted_at IS NULL THEN s.at ELSE excluded.at END,
       source = CASE WHEN s.lifted_at IS NULL THEN {SAID_BY_BOTH} ELSE excluded.source END,
       note = CASE WHEN s.lifted_at IS NULL THEN s.note ELSE excluded.note END,
       said_at = excluded.said_at, lifted_at = NULL, lifted_by = NULL
RETURNING s.*
""",  # noqa: S608 - constants of our own
    partner_id=BIG,
    channel=TEXT,
    address_hash=BYTES,
    cause=TEXT,
    id=UUID_,
    source=TEXT,
    note=TEXT,
    now=INSTANT,
)

# Index suppressions_by_id. One that was lifted before stays as it is.
_REMOVE = statement(
    """
UPDATE suppressions s
   SET lifted_by = CASE WHEN s.lifted_at IS NULL THEN :subject ELSE s.lifted_by END,
       lifted_at = coalesce(s.lifted_at, :now)
 WHERE s.partner_id = :partner_id AND s.id = :id AND s.said_at IS NOT NULL
RETURNING s.id
""",
    partner_id=BIG,
    id=UUID_,
    subject=TEXT,
    now=INSTANT,
)


async def list_suppressions(connection: Connection, wanted: Filter, size: int, after: Place | None) -> list[Listed]:
    """A page, newest first."""
    values = {
        "partner_id": wanted.partner_id,
        "channel": wanted.channel,
        "cause": wanted.cause,
        "address_hash": wanted.address_hash,
        "with_lifted": wanted.with_lifted,
        "after_at": after and after.created_at,
        "after_id": after and after.id,
        "size": size,
    }
    return [_listed(row) for row in await connection.execute(_LIST, values)]


async def add_suppression(
    connection: Connection, id_: UUID, key: AddressKey, cause: SuppressionCause, source: str, note: str, now: datetime
) -> Listed:
    """Put an address on the list; `id_` names it where it is new there."""
    values = {
        "partner_id": key.partner_id,
        "channel": key.channel,
        "address_hash": key.address_hash,
        "cause": cause,
        "id": id_,
        "source": source,
        "note": note,
        "now": now,
    }
    return _listed((await connection.execute(_ADD, values)).one())


async def remove_suppression(connection: Connection, partner_id: int, id_: UUID, subject: str, now: datetime) -> bool:
    """Take one off the list; whether there is such a one."""
    values = {"partner_id": partner_id, "id": id_, "subject": subject, "now": now}
    return (await connection.execute(_REMOVE, values)).one_or_none() is not None


def _listed(row: Row[Any]) -> Listed:
    return Listed(
        id=row.id,
        partner_id=row.partner_id,
        channel=Channel(row.channel),
        cause=SuppressionCause(row.reason),
        source=row.source,
        note=row.note or "",
        since=row.at,
        lifted_at=row.lifted_at,
        lifted_by=row.lifted_by or "",
    )
