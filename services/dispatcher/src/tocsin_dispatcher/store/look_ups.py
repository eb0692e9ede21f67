"""What a look-up needs to know of attempts, and of the provider's other messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tocsin_dispatcher.keys import DeliveryKey
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.statement import BIG, SMALL, TEXT, TEXTS, UUID_, RowSet, statement


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt as it was written before its call."""

    provider: str
    credential: str
    started_at: datetime
    possible_duplicate: bool


_ASKED = RowSet("x", partner_id=BIG, id=UUID_, number=SMALL)

# Primary key.
_BEGUN = statement(
    f"""
SELECT a.partner_id, a.delivery_id, a.provider, a.credential, a.started_at, a.possible_duplicate
  FROM {_ASKED}
  JOIN attempts a ON a.partner_id = x.partner_id AND a.delivery_id = x.id AND a.number = x.number
""",  # noqa: S608 - the row set is of our own making
    _ASKED,
)

# Index deliveries_of_provider; the provider's ids are the same for all partners of one account.
_KNOWN = statement(
    "SELECT provider_id, id FROM deliveries"
    " WHERE provider = :provider AND provider_id = ANY(:provider_ids) AND provider_id IS NOT NULL",
    provider=TEXT,
    provider_ids=TEXTS,
)

# No table: one transaction after the other says whose a message is; in order of the ids, before any row is locked.
_LOCK = statement(
    "SELECT pg_advisory_xact_lock(hashtextextended(m.provider_id, 0))"
    "  FROM (SELECT unnest(:provider_ids) AS provider_id ORDER BY 1) m",
    provider_ids=TEXTS,
)


async def attempts_begun(
    connection: Connection, attempts: Sequence[tuple[DeliveryKey, int]]
) -> Mapping[DeliveryKey, Begun]:
    """Each of these attempts, by delivery and number, as it was begun."""
    rows = await connection.execute(_BEGUN, _ASKED.filled([(*key, number) for key, number in attempts]))
    return {
        DeliveryKey(row.partner_id, row.delivery_id): Begun(
            row.provider, row.credential, row.started_at, row.possible_duplicate
        )
        for row in rows
    }


async def known_messages(
    connection: Connection, provider: str, provider_ids: Sequence[str]
) -> dict[str, frozenset[UUID]]:
    """Of a provider's messages those that are known to be deliveries', with the ids of these."""
    known: dict[str, frozenset[UUID]] = {}
    for row in await connection.execute(_KNOWN, {"provider": provider, "provider_ids": list(provider_ids)}):
        known[row.provider_id] = known.get(row.provider_id, frozenset()) | {row.id}
    return known


async def of_another_delivery(
    connection: Connection, found: Sequence[tuple[DeliveryKey, str, str]]
) -> frozenset[DeliveryKey]:
    """Of deliveries with the message that a look-up found for each (provider, the provider's id): those whose message
    is another delivery's by now. Until the transaction ends nobody else answers this about the same messages."""
    if not found:
        return frozenset()
    await connection.execute(_LOCK, {"provider_ids": sorted({provider_id for _, _, provider_id in found})})
    others: set[DeliveryKey] = set()
    for provider in sorted({provider for _, provider, _ in found}):
        theirs = [(key, provider_id) for key, named, provider_id in found if named == provider]
        known = await known_messages(connection, provider, [provider_id for _, provider_id in theirs])
        for key, provider_id in theirs:
            if known.setdefault(provider_id, frozenset({key.id})) - {key.id}:
                others.add(key)
    return frozenset(others)
