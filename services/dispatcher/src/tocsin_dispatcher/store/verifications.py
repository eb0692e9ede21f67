"""Verifications: the last one of each person and channel, and how many there were on a day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import TextClause

from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.history import noting
from tocsin_dispatcher.store.rows import DELIVERY_COLUMNS, delivery_of
from tocsin_dispatcher.store.statement import BIG, BYTES, DAY, INSTANT, SMALL, TEXT, UUID_, Parameter, RowSet, statement
from tocsin_dispatcher.values import Channel, Delivery


@dataclass(frozen=True, slots=True)
class NewVerification:
    """A code that is asked for."""

    user: UserKey
    channel: Channel
    delivery_id: UUID
    address_hash: bytes
    code_hash: bytes
    sealed: bytes = field(repr=False)
    started_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Began:
    """When the verification that stands began, and until when its code is valid."""

    started_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Attempted:
    """The verification that a code was typed for; the try is counted."""

    delivery_id: UUID
    address_hash: bytes
    code_hash: bytes


_MINE = "partner_id = :partner_id AND user_id = :user_id AND channel = :channel"
_SCOPE: Mapping[str, Parameter] = {"partner_id": BIG, "user_id": BIG, "channel": TEXT}

# Primary key. Two who ask at once are one after the other: the second finds the first one's too young to be replaced.
# The message of the one before is of no use any more; one that is being sent has its code still.
_BEGIN = statement(
    f"""
WITH begun AS (
  INSERT INTO verifications AS v (partner_id, user_id, channel, delivery_id, address_hash, code_hash, sealed, tries,
                                  started_at, expires_at)
  VALUES (:partner_id, :user_id, :channel, :delivery_id, :address_hash, :code_hash, :sealed, 0, :started_at,
          :expires_at)
  ON CONFLICT (partner_id, user_id, channel) DO UPDATE
     SET delivery_id = excluded.delivery_id, address_hash = excluded.address_hash, code_hash = excluded.code_hash,
         sealed = excluded.sealed, tries = 0, started_at = excluded.started_at, expires_at = excluded.expires_at,
         confirmed_at = NULL
   WHERE v.started_at <= :replaces
  RETURNING v.partner_id, old.delivery_id AS before
), ended AS (
  UPDATE deliveries d
     SET status = 'expired', reason = 'expired', due_at = NULL, leased_until = NULL, failed_at = :now
    FROM begun b
   WHERE d.partner_id = b.partner_id AND d.id = b.before AND d.status IN ('pending', 'retrying', 'unknown')
  RETURNING {DELIVERY_COLUMNS}
), told AS (
  SELECT e.partner_id, e.id, e.status AS happening, e.reason, CAST(NULL AS timestamptz) AS until,
         CAST(NULL AS uuid) AS joined_id
    FROM ended e
), noted AS (
  {noting("told")}
)
SELECT * FROM ended
""",  # noqa: S608 - constants of our own
    **_SCOPE,
    now=INSTANT,
    delivery_id=UUID_,
    address_hash=BYTES,
    code_hash=BYTES,
    sealed=BYTES,
    started_at=INSTANT,
    expires_at=INSTANT,
    replaces=INSTANT,
)

# Primary key.
_STANDS = statement(f"SELECT delivery_id, started_at, expires_at FROM verifications WHERE {_MINE}", **_SCOPE)  # noqa: S608

_COUNTED = RowSet("x", partner_id=BIG, scope=TEXT, subject=BYTES)

# Primary key, in its order: the bank's own row, which all of its users share, is locked after those of fewer.
_COUNT = statement(
    f"""
INSERT INTO verification_counts AS c (partner_id, scope, subject, day, count)
SELECT x.partner_id, x.scope, x.subject, :day, 1
  FROM {_COUNTED}
 ORDER BY array_position(ARRAY['user', 'address', 'prefix', 'partner'], x.scope)
ON CONFLICT (partner_id, scope, subject) DO UPDATE
   SET count = CASE WHEN c.day = excluded.day THEN c.count + 1 ELSE 1 END, day = excluded.day
RETURNING c.scope, c.count AS counted
""",  # noqa: S608 - the row set is of our own making
    _COUNTED,
    day=DAY,
)

# Primary key. Counting and looking are one statement: who types many codes at once has no more tries than others.
_TRY = statement(
    f"""
UPDATE verifications SET tries = tries + 1
 WHERE {_MINE} AND tries < :most AND expires_at > :now
RETURNING delivery_id, address_hash, code_hash
""",  # noqa: S608 - constants of our own
    **_SCOPE,
    most=SMALL,
    now=INSTANT,
)


# Primary keys. The address is compared once more: the bank may have changed it in this moment.
def _confirm(address: str) -> TextClause:
    return statement(
        f"""
WITH used AS (
  UPDATE verifications SET confirmed_at = coalesce(confirmed_at, :now), sealed = '' WHERE {_MINE}
)
UPDATE contacts SET {address}_confirmed_at = coalesce({address}_confirmed_at, :now)
 WHERE partner_id = :partner_id AND user_id = :user_id AND {address} = :address
""",  # noqa: S608 - names of our own
        **_SCOPE,
        address=TEXT,
        now=INSTANT,
    )


_CONFIRM = {Channel.EMAIL: _confirm("email"), Channel.SMS: _confirm("phone")}


async def begin_verification(
    connection: Connection, new: NewVerification, replaces: datetime
) -> tuple[Began | None, Sequence[Delivery]]:
    """Let a new one stand, unless the last one was begun after `replaces`: then that one is answered. With it the
    message of the one before, where that is of no use now."""
    scope = {**new.user._asdict(), "channel": new.channel}
    rows = await connection.execute(
        _BEGIN,
        {
            **scope,
            "delivery_id": new.delivery_id,
            "address_hash": new.address_hash,
            "code_hash": new.code_hash,
            "sealed": new.sealed,
            "started_at": new.started_at,
            "expires_at": new.expires_at,
            "replaces": replaces,
            "now": new.started_at,
        },
    )
    ended = [delivery_of(one) for one in rows]
    row = (await connection.execute(_STANDS, scope)).one()
    return (None if row.delivery_id == new.delivery_id else Began(row.started_at, row.expires_at)), ended


async def count_verification(
    connection: Connection, partner_id: int, subjects: Mapping[str, bytes], day: date
) -> Mapping[str, int]:
    """Count one more on a day for each subject, by scope; answers how many it is."""
    rows: Sequence[tuple[object, ...]] = [(partner_id, scope, subject) for scope, subject in subjects.items()]
    counted = await connection.execute(_COUNT, {**_COUNTED.filled(rows), "day": day})
    return {row.scope: row.counted for row in counted}


async def try_code(
    connection: Connection, user: UserKey, channel: Channel, most: int, now: datetime
) -> Attempted | None:
    """Count a try; None where no verification stands, its code is too old, or it had `most` tries."""
    values = {**user._asdict(), "channel": channel, "most": most, "now": now}
    row = (await connection.execute(_TRY, values)).one_or_none()
    return None if row is None else Attempted(row.delivery_id, row.address_hash, row.code_hash)


async def confirm(connection: Connection, user: UserKey, channel: Channel, address: str, now: datetime) -> bool:
    """The address is verified; whether it is the person's still."""
    values = {**user._asdict(), "channel": channel, "address": address, "now": now}
    return bool((await connection.execute(_CONFIRM[channel], values)).rowcount)
