"""The suppression list: addresses nothing is sent to, as keyed hashes, each cause for itself.

What is said of an address is ordered by when it was said, not by when it came: a STOP that comes late takes back no
START said after it, and a START that comes late lifts no STOP said after it. Of two said at one instant the one that
comes later counts. Who said the same while it stands is named beside whoever said it before, so that what takes back
one's words alone leaves the others' standing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.statement import BIG, BYTES, INSTANT, TEXT, RowSet, statement
from tocsin_dispatcher.values import Channel


@dataclass(frozen=True, slots=True)
class AddressKey:
    """An address on a channel, for one partner."""

    partner_id: int
    channel: Channel
    address_hash: bytes


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Why nothing is sent to an address, and since when."""

    cause: SuppressionCause
    since: datetime


@dataclass(frozen=True, slots=True)
class Said:
    """Something said of an address at an instant: that nothing is to be sent to it, or not for this cause any more."""

    key: AddressKey
    cause: SuppressionCause
    at: datetime
    by: str
    """A provider and its event, or whoever did it by hand; several, with commas between, in the order they said it."""
    lifts: bool = False
    only_of: str | None = None
    """Lifts only what this one alone said; None: whoever said it."""


#: Of several causes the first of these is told: what the person said before what a provider found.
_WEIGHT = (
    SuppressionCause.STOPPED,
    SuppressionCause.COMPLAINED,
    SuppressionCause.UNSUBSCRIBED,
    SuppressionCause.BOUNCED,
    SuppressionCause.DISABLED,
)

_ADDRESSES = RowSet("k", partner_id=BIG, channel=TEXT, address_hash=BYTES)

# Primary key.
_READ = statement(
    f"""
SELECT s.partner_id, s.channel, s.address_hash, s.reason, s.at
  FROM {_ADDRESSES}
  JOIN suppressions s ON s.partner_id = k.partner_id AND s.channel = k.channel AND s.address_hash = k.address_hash
 WHERE s.lifted_at IS NULL
""",  # noqa: S608 - the row set is of our own making
    _ADDRESSES,
)

_ADDED = RowSet("x", partner_id=BIG, channel=TEXT, address_hash=BYTES, reason=TEXT, source=TEXT, at=INSTANT)

SAID_BY_BOTH = """(SELECT string_agg(one.by, ', ' ORDER BY one.place)
          FROM (SELECT said.by, min(said.place) AS place
                  FROM unnest(string_to_array(s.source || ', ' || excluded.source, ', '))
                       WITH ORDINALITY AS said(by, place)
                 GROUP BY said.by) one)"""
"""Those who said it before and those who say it now, each once."""

# Primary key, in its order. One that was lifted stands again; one that stands keeps its beginning, and who said so.
_ADD = statement(
    f"""
INSERT INTO suppressions AS s (partner_id, channel, address_hash, reason, source, at, said_at)
SELECT x.partner_id, x.channel, x.address_hash, x.reason, x.source, x.at, x.at
  FROM {_ADDED}
 ORDER BY x.partner_id, x.channel, x.address_hash, x.reason
ON CONFLICT (partner_id, channel, address_hash, reason) DO UPDATE
   SET at = CASE WHEN s.lifted_at IS NULL THEN s.at ELSE excluded.at END,
       source = CASE WHEN s.lifted_at IS NULL THEN {SAID_BY_BOTH} ELSE excluded.source END,
       said_at = greatest(s.said_at, excluded.said_at), lifted_at = NULL, lifted_by = NULL
 WHERE s.lifted_at IS NULL OR s.lifted_at <= excluded.at
""",  # noqa: S608 - the row set is of our own making
    _ADDED,
)

_LIFTED = RowSet(
    "x", partner_id=BIG, channel=TEXT, address_hash=BYTES, reason=TEXT, at=INSTANT, lifted_by=TEXT, only_of=TEXT
)

# Primary key, in its order. What nobody has said yet is kept as lifted: should it come late, it finds this.
_LIFT = statement(
    f"""
INSERT INTO suppressions AS s (partner_id, channel, address_hash, reason, source, at, said_at, lifted_at, lifted_by)
SELECT x.partner_id, x.channel, x.address_hash, x.reason, x.lifted_by, x.at, NULL, x.at, x.lifted_by
  FROM {_LIFTED}
 ORDER BY x.partner_id, x.channel, x.address_hash, x.reason
ON CONFLICT (partner_id, channel, address_hash, reason) DO UPDATE
   SET lifted_at = excluded.lifted_at, lifted_by = excluded.lifted_by
 WHERE coalesce(s.lifted_at, s.said_at) <= excluded.lifted_at
   AND EXISTS (SELECT 1 FROM {_LIFTED}
                WHERE x.partner_id = s.partner_id AND x.channel = s.channel AND x.address_hash = s.address_hash
                  AND x.reason = s.reason AND coalesce(x.only_of, s.source) = s.source)
""",  # noqa: S608 - the row set is of our own making
    _LIFTED,
)


async def suppressed(connection: Connection, addresses: Iterable[AddressKey]) -> Mapping[AddressKey, Suppressed]:
    """Which of these addresses nothing is sent to, and the weightiest cause."""
    rows = [(address.partner_id, address.channel, address.address_hash) for address in addresses]
    if not rows:
        return {}
    found: dict[AddressKey, Suppressed] = {}
    for row in await connection.execute(_READ, _ADDRESSES.filled(rows)):
        address = AddressKey(row.partner_id, Channel(row.channel), row.address_hash)
        new = Suppressed(SuppressionCause(row.reason), row.at)
        known = found.get(address, new)
        found[address] = min(known, new, key=lambda one: _WEIGHT.index(one.cause))
    return found


async def suppress(
    connection: Connection, causes: Sequence[tuple[AddressKey, SuppressionCause]], source: str, now: datetime
) -> None:
    """Put addresses on the list; `source` says who said so, for operators."""
    await heed(connection, [Said(key, cause, now, source) for key, cause in causes])


async def heed(connection: Connection, said: Sequence[Said]) -> None:
    """Do as is said of addresses, in the order in which it was said."""
    last: dict[tuple[AddressKey, SuppressionCause], Said] = {}
    for one in sorted(said, key=lambda one: one.at):
        last[one.key, one.cause] = _then(last.get((one.key, one.cause)), one)
    added = [_row(one) for one in last.values() if not one.lifts]
    lifted = [_row(one) for one in last.values() if one.lifts]
    if added:
        await connection.execute(_ADD, _ADDED.filled([(*row, one.by, one.at) for row, one in added]))
    if lifted:
        rows = [(*row, one.at, one.by, one.only_of) for row, one in lifted]
        await connection.execute(_LIFT, _LIFTED.filled(rows))


def _then(before: Said | None, now: Said) -> Said:
    """What is left of two that say something of one address and cause, `now` after `before`."""
    if before is None or before.lifts:
        return now
    if not now.lifts:
        return replace(now, by=", ".join(dict.fromkeys((*before.by.split(", "), now.by))))
    return now if now.only_of in (None, before.by) else before


def _row(said: Said) -> tuple[tuple[int, Channel, bytes, SuppressionCause], Said]:
    return (said.key.partner_id, said.key.channel, said.key.address_hash, said.cause), said
