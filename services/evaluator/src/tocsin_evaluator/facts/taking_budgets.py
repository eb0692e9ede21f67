"""Budgets on their way in, and those whose spending the same transaction has changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.facts.derived import Affected, derive
from tocsin_evaluator.facts.stored import budget_row, zone_of
from tocsin_evaluator.model.facts import Budget
from tocsin_evaluator.store import budgets
from tocsin_evaluator.store.budgets import Derived, derived_of
from tocsin_evaluator.store.people import Known
from tocsin_evaluator.store.rows import BudgetRow
from tocsin_evaluator.store.upserts import Key, Put, put


@dataclass(frozen=True)
class Spent:
    """What became of the budgets that were brought, and the derived ones whose spending changed."""

    done: Put
    changed: dict[Key, Derived]


async def take_budgets(
    connection: AsyncConnection,
    brought: Sequence[Budget],
    affected: Affected,
    people: Mapping[Key, Known],
    at: datetime,
) -> Spent:
    """Write budgets and sum anew those that are derived, with all whose spending is affected.

    All of them are locked before the first is written, for the written ones may have higher ids than the others.
    """
    rows = {
        (each.partner_id, each.id): budget_row(each, zone_of((each.partner_id, each.user_id), people), at)
        for each in brought
    }
    locked = await budgets.lock(connection, rows, affected.categories)
    done = await put(connection, list(rows.values()))
    to_sum = {each.key: each for each in locked if affected.includes(each)}
    to_sum = {key: each for key, each in to_sum.items() if key not in done.versions} | _derived(rows, done)
    changed = await derive(connection, to_sum.values(), people, at)
    return Spent(done, {key: to_sum[key] for key in changed})


def _derived(rows: Mapping[Key, BudgetRow], done: Put) -> dict[Key, Derived]:
    """The derived ones among the rows that were written."""
    written = [derived_of(rows[key]) for key in done.versions]
    return {each.key: each for each in written if each is not None}
