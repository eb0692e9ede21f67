"""Who tells a fact: the one living delivery that has its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from tocsin_dispatcher.keys import DeliveryKey, UserKey
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.conditions import UNTOLD
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.history import noting
from tocsin_dispatcher.store.statement import BIG, INSTANT, TEXT, UUID_, RowSet, statement
from tocsin_dispatcher.values import Channel, SameFact


class FactKey(NamedTuple):
    """One purchase on one channel of one user; on push, in one browser."""

    user: UserKey
    channel: Channel
    fact_key: str
    destination_id: UUID | None = None


_FACTS = RowSet("k", partner_id=BIG, user_id=BIG, channel=TEXT, fact_key=TEXT, destination_id=UUID_)

_TOLD = f"""
SELECT d.partner_id, d.id, d.user_id, d.channel, d.fact_key, d.destination_id, d.status, n.critical, n.daily_digest
  FROM {_FACTS}
  JOIN deliveries d ON d.partner_id = k.partner_id AND d.user_id = k.user_id AND d.channel = k.channel
                   AND d.destination_id IS NOT DISTINCT FROM k.destination_id AND d.fact_key = k.fact_key
                   AND d.fact_key IS NOT NULL AND d.status NOT IN {UNTOLD}
  JOIN notifications n ON n.partner_id = d.partner_id AND n.id = d.notification_id
"""  # noqa: S608 - the row set is of our own making

# Index deliveries_one_per_fact.
_TELLING = statement(_TOLD, _FACTS)

# The same. Locks what it finds, by key: a worker cannot begin to send it meanwhile.
_LOCK_TELLING = statement(f"{_TOLD} ORDER BY d.partner_id, d.id FOR NO KEY UPDATE OF d", _FACTS)

_DISPLACED = RowSet("x", partner_id=BIG, id=UUID_, merged_into=UUID_)

# Primary key; the rows are locked already. A worker that had claimed one finds its lease gone.
_DISPLACE = statement(
    f"""
WITH displaced AS (
  UPDATE deliveries d
     SET status = 'merged', reason = 'merged', merged_into = x.merged_into, due_at = NULL, leased_until = NULL
    FROM {_DISPLACED}
   WHERE d.partner_id = x.partner_id AND d.id = x.id
  RETURNING d.partner_id, d.id, 'merged' AS happening, d.reason, CAST(NULL AS timestamptz) AS until,
            d.merged_into AS joined_id
)
{noting("displaced")}
""",  # noqa: S608 - the row set is of our own making
    _DISPLACED,
    now=INSTANT,
)

_YIELDING = RowSet("x", partner_id=BIG, id=UUID_)

# Primary key; the rows are locked already.
_YIELD = statement(
    f"UPDATE deliveries d SET fact_key = NULL FROM {_YIELDING} WHERE d.partner_id = x.partner_id AND d.id = x.id",  # noqa: S608
    _YIELDING,
)


async def deliveries_telling(connection: Connection, facts: Sequence[FactKey]) -> Mapping[FactKey, SameFact]:
    """The living deliveries that tell these facts."""
    return await _telling(connection, facts, lock=False)


async def lock_deliveries_telling(connection: Connection, facts: Sequence[FactKey]) -> Mapping[FactKey, SameFact]:
    """The same, locked."""
    return await _telling(connection, facts, lock=True)


async def displace(connection: Connection, displaced: Sequence[tuple[DeliveryKey, UUID]], now: datetime) -> None:
    """Each delivery becomes merged into the other one named; their rows are locked."""
    if displaced:
        rows = _DISPLACED.filled([(*key, into) for key, into in displaced])
        await connection.execute(_DISPLACE, {**rows, "now": now})


async def give_up_facts(connection: Connection, yielding: Sequence[DeliveryKey]) -> None:
    """These tell their facts no longer: others do now. Their rows are locked."""
    if yielding:
        await connection.execute(_YIELD, _YIELDING.filled(yielding))


async def _telling(connection: Connection, facts: Sequence[FactKey], *, lock: bool) -> Mapping[FactKey, SameFact]:
    if not facts:
        return {}
    wanted = _FACTS.filled([(*fact.user, fact.channel, fact.fact_key, fact.destination_id) for fact in facts])
    return {
        FactKey(UserKey(row.partner_id, row.user_id), Channel(row.channel), row.fact_key, row.destination_id): SameFact(
            row.id, DeliveryState(row.status), row.critical, row.daily_digest
        )
        for row in await connection.execute(_LOCK_TELLING if lock else _TELLING, wanted)
    }
