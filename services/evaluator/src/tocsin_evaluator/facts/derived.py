"""Budgets whose spending follows from transactions: which are affected, and their running period."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

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

Spent: TypeAlias = tuple[int, int, str | None]
"""(partner, user, category); no category: all of the user's."""


@dataclass
class Affected:
    """Whose derived budgets may have changed: by user and category, no category meaning all of the user's; and by what,
    news outweighing history.
    """

    categories: set[Spent] = field(default_factory=set)
    _causes: dict[Spent, Touch] = field(default_factory=dict)

    def category(self, user: Key, category: str | None, touch: Touch) -> None:
        """A user's spending in a category changed; None where more than one category may have."""
        if category != "":
            self.categories.add((*user, category))
        self._note((*user, category), touch)

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

    def cause_of(self, budget: Derived) -> Touch | None:
        """What changed a budget; of a category that only its other forms touched, whatever came for its user."""
        user = (budget.partner_id, budget.user_id)
        own = [each for name in (budget.category, None) if (each := self._causes.get((*user, name))) is not None]
        causes = own or [touch for key, touch in self._causes.items() if key[:2] == user]
        return min(causes, key=lambda touch: touch.backfill, default=None)

    def _note(self, key: Spent, touch: Touch) -> None:
        before = self._causes.get(key)
        if before is None or before.backfill:
            self._causes[key] = touch


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
