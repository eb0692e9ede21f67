"""Budgets whose spending follows from transactions: which are affected, and their running period."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.evaluation.touched import Touch
from tocsin_evaluator.facts.periods import period_of
from tocsin_evaluator.facts.stored import zone_of
from tocsin_evaluator.model.words import BudgetPeriod
from tocsin_evaluator.store import budgets
from tocsin_evaluator.store.budgets import Derived
from tocsin_evaluator.store.people import Known
from tocsin_evaluator.store.purchases import Spending
from tocsin_evaluator.store.upserts import Key


@dataclass
class Affected:
    """Whose derived budgets may have changed: by user and category, no category meaning all of the user's."""

    categories: set[tuple[int, int, str | None]] = field(default_factory=set)
    touches: dict[Key, Touch] = field(default_factory=dict)

    def category(self, user: Key, category: str | None, touch: Touch) -> None:
        """A user's spending in a category changed; None where more than one category may have."""
        if category != "":
            self.categories.add((*user, category))
        before = self.touches.get(user)
        if before is None or before.backfill:
            self.touches[user] = touch

    def also(self, spending: Iterable[Spending]) -> None:
        """More that changed of users who are here already."""
        self.categories |= {each for each in spending if each[2] != ""}

    def whole_user(self, user: Key, touch: Touch) -> None:
        """All of a user's periods may have changed."""
        self.category(user, None, touch)

    def includes(self, budget: Derived) -> bool:
        """Whether a budget is one of them."""
        user = (budget.partner_id, budget.user_id)
        return (*user, budget.category) in self.categories or (*user, None) in self.categories


async def derive(
    connection: AsyncConnection, locked: Iterable[Derived], people: Mapping[Key, Known], at: datetime
) -> set[Key]:
    """Sum locked budgets over the period that runs at `at` where their owner lives."""
    periods = []
    for each in locked:
        today = at.astimezone(zone_of((each.partner_id, each.user_id), people)).date()
        period = period_of(BudgetPeriod(each.period), each.starts_on, today)
        periods.append((each, period.first, period.until))
    return await budgets.derive(connection, periods, at)
