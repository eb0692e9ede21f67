"""Deleting facts: what is gone fires nothing, and derived budgets are summed anew."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_evaluator.facts.derived import derive
from tocsin_evaluator.store import budgets
from tocsin_evaluator.store.people import known
from tocsin_evaluator.store.tables import metadata
from tocsin_evaluator.store.upserts import remove
from tocsin_kit.postgres.engine import in_transaction

#: The tables in the lock order.
_ORDER = ("accounts", "goals", "transactions", "budgets", "bills")


async def delete_facts(engine: AsyncEngine, partner_id: int, facts: Sequence[tuple[str, int]], at: datetime) -> None:
    """Delete a partner's facts, given as (table, id), in one transaction. What is not there is no error."""

    async def work(connection: AsyncConnection) -> None:
        for name in _ORDER:
            keys = [(partner_id, id_) for table, id_ in facts if table == name]
            owners = await remove(connection, metadata.tables[name], keys) if keys else []
            if name == "transactions" and owners:
                await _sum_anew(connection, owners, at)

    await in_transaction(engine, work)


async def _sum_anew(connection: AsyncConnection, owners: Sequence[tuple[int, int]], at: datetime) -> None:
    locked = await budgets.lock_derived(connection, {(partner, user, None) for partner, user in owners})
    await derive(connection, locked, await known(connection, owners), at)
