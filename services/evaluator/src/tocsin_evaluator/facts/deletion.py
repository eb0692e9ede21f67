"""Deleting facts: what is gone fires nothing, and derived budgets are summed anew."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_evaluator.facts.derived import derive
from tocsin_evaluator.store import purchases
from tocsin_evaluator.store.alerts import forget_versions
from tocsin_evaluator.store.budgets import lock
from tocsin_evaluator.store.people import known, one_at_a_time
from tocsin_evaluator.store.planning import plan_for_the_numbers_at_hand
from tocsin_evaluator.store.tables import accounts, bills, budgets, goals, transactions
from tocsin_evaluator.store.upserts import Key, owners, remove
from tocsin_kit.postgres.engine import in_transaction


async def delete_facts(engine: AsyncEngine, partner_id: int, facts: Sequence[tuple[str, int]], at: datetime) -> None:
    """Delete a partner's facts, given as (table, id), in one transaction. What is not there is no error."""

    def of(table: str) -> list[Key]:
        return [(partner_id, id_) for name, id_ in facts if name == table]

    async def work(connection: AsyncConnection) -> None:
        """In the lock order."""
        await plan_for_the_numbers_at_hand(connection)
        await one_at_a_time(connection, await owners(connection, transactions, of("transactions")))
        await remove(connection, accounts, of("accounts"))
        await remove(connection, goals, of("goals"))
        spenders = await _remove_transactions(connection, of("transactions"))
        await _remove_budgets(connection, of("budgets"), spenders, at)
        await remove(connection, bills, of("bills"))
        await forget_versions(connection, of("accounts"))

    await in_transaction(engine, work)


async def _remove_transactions(connection: AsyncConnection, keys: Sequence[Key]) -> set[Key]:
    """Delete transactions; answers whose they were."""
    await purchases.part(connection, keys)
    return await remove(connection, transactions, keys)


async def _remove_budgets(connection: AsyncConnection, keys: Sequence[Key], spenders: set[Key], at: datetime) -> None:
    """Delete budgets, and sum the others anew whose owners' transactions were deleted."""
    locked = await lock(connection, keys, [(*user, None) for user in spenders])
    await remove(connection, budgets, keys)
    left = [each for each in locked if each.key not in set(keys)]
    await derive(connection, left, await known(connection, spenders), at)
