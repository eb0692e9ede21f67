"""The suppression list: addresses nothing is sent to, as keyed hashes, each cause for itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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

_ADDED = RowSet("x", partner_id=BIG, channel=TEXT, address_hash=BYTES, reason=TEXT, source=TEXT)

# Primary key. One that was lifted stands again; one that stands keeps its beginning.
_ADD = statement(
    f"""
INSERT INTO suppressions AS s (partner_id, channel, address_hash, reason, source, at)
SELECT DISTINCT ON (x.partner_id, x.channel, x.address_hash, x.reason)
       x.partner_id, x.channel, x.address_hash, x.reason, x.source, :now
  FROM {_ADDED}
 ORDER BY x.partner_id, x.channel, x.address_hash, x.reason
ON CONFLICT (partner_id, channel, address_hash, reason) DO UPDATE
   SET at = CASE WHEN s.lifted_at IS NULL THEN s.at ELSE excluded.at END, lifted_at = NULL, source = excluded.source
""",  # noqa: S608 - the row set is of our own making
    _ADDED,
    now=INSTANT,
)

_LIFTED = RowSet("x", partner_id=BIG, channel=TEXT, address_hash=BYTES, reason=TEXT)

# Primary key.
_LIFT = statement(
    f"""
UPDATE suppressions s SET lifted_at = :now
  FROM {_LIFTED}
 WHERE s.partner_id = x.partner_id AND s.channel = x.channel AND s.address_hash = x.address_hash
   AND s.reason = x.reason AND s.lifted_at IS NULL
""",  # noqa: S608 - the row set is of our own making
    _LIFTED,
    now=INSTANT,
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
    if causes:
        rows = [(key.partner_id, key.channel, key.address_hash, cause, source) for key, cause in causes]
        await connection.execute(_ADD, {**_ADDED.filled(rows), "now": now})


async def lift(connection: Connection, causes: Sequence[tuple[AddressKey, SuppressionCause]], now: datetime) -> None:
    """Take these causes off the list; others of the same address stay."""
    if causes:
        rows = [(key.partner_id, key.channel, key.address_hash, cause) for key, cause in causes]
        await connection.execute(_LIFT, {**_LIFTED.filled(rows), "now": now})
