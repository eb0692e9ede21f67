"""The slow reference's memory: what banks said, one fact after the other, and which purchases and sums follow from it.

Each rule is quoted from the evaluation page of the design, or says where else it stands. No SQL, and nothing of the
product but its words and values.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from tocsin_evaluator.model.facts import Account, Bill, Budget, Fact, Goal, Profile, Transaction
from tocsin_evaluator.model.words import BudgetPeriod, SpentSource, TransactionStatus

from .reference_purchases import Form, Key, Limits, pair

DAY = timedelta(days=1)
NOON = time(12)
OLDEST_NEWS = timedelta(days=5)
"""Page: `max_transaction_age` (default 5 days)."""

POSTED, PENDING = TransactionStatus.POSTED, TransactionStatus.PENDING


@dataclass(frozen=True)
class Spent:
    """What was spent of a budget from one day until before another."""

    amount: Decimal
    first: date
    until: date


@dataclass
class Touched:
    """What a batch has changed, and whether as news (True) or only as history."""

    facts: dict[tuple[type[Fact], Key], bool] = field(default_factory=dict)
    movers: dict[Key, bool] = field(default_factory=dict)
    spending: dict[tuple[Key, str], bool] = field(default_factory=dict)

    def add(self, kind: type[Fact], key: Key, news: bool) -> None:
        """Note a fact; what came as news as well is news."""
        self.facts[kind, key] = news or self.facts.get((kind, key), False)

    def add_spending(self, form: Form, news: bool) -> None:
        """Note that its owner's spending in its category changed."""
        place = (form.owner, form.fact.category)
        self.spending[place] = news or self.spending.get(place, False)


class Known:
    """All that banks said, as it stands now."""

    def __init__(self) -> None:
        self.people: dict[Key, Profile] = {}
        self.accounts: dict[Key, Account] = {}
        self.goals: dict[Key, Goal] = {}
        self.forms: dict[Key, Form] = {}
        self.budgets: dict[Key, Budget] = {}
        self.spent: dict[Key, Spent] = {}
        self.bills: dict[Key, Bill] = {}

    def zone(self, owner: Key) -> ZoneInfo:
        """Page: a fact of an unknown person is accepted with zone UTC."""
        profile = self.people.get(owner)
        return ZoneInfo(profile.time_zone if profile else "UTC")

    def today(self, owner: Key, at: datetime) -> date:
        """The person's calendar day."""
        return at.astimezone(self.zone(owner)).date()

    def take_in(self, facts: Sequence[Fact], at: datetime, news: bool, limits: Limits) -> tuple[Touched, set[int]]:
        """Store a batch. Answers what it touched, and the positions refused."""
        touched = Touched()
        newest, refused = self._merged(facts)
        for kind in (Profile, Account, Goal):
            for fact in newest:
                if isinstance(fact, kind):
                    self._take(fact, news, touched)
        self._take_transactions([fact for fact in newest if isinstance(fact, Transaction)], at, news, touched, limits)
        for fact in newest:
            if isinstance(fact, Budget):
                self._take_budget(fact, at, news, touched)
            elif isinstance(fact, Bill):
                self._take(fact, news, touched)
        self.sum_budgets(at, touched)
        return touched, refused

    def _merged(self, facts: Sequence[Fact]) -> tuple[list[Fact], set[int]]:
        """Page: items are merged by id within the batch (newest wins); equal: the last writer. Contract page: an upsert
        never moves a row to another owner.
        """
        newest: dict[tuple[type[Fact], Key], Fact] = {}
        refused = set()
        for position, fact in enumerate(facts):
            name = (type(fact), key_of(fact))
            before = newest.get(name)
            owner = before or self._stored(fact)
            if owner is not None and owner.user_id != fact.user_id:
                refused.add(position)
            elif before is None or fact.as_of >= before.as_of:
                newest[name] = fact
        return list(newest.values()), refused

    def _stored(self, fact: Fact) -> Fact | None:
        if isinstance(fact, Transaction):
            form = self.forms.get(key_of(fact))
            return None if form is None else form.fact
        return self._shelf(fact).get(key_of(fact))

    def _shelf(self, fact: Fact) -> dict[Key, Any]:
        shelves: dict[type[Fact], dict[Key, Any]] = {
            Profile: self.people,
            Account: self.accounts,
            Goal: self.goals,
            Budget: self.budgets,
            Bill: self.bills,
        }
        return shelves[type(fact)]

    def _take(self, fact: Fact, news: bool, touched: Touched) -> None:
        """Page: ordered by the bank's `as_of` (an older one never overwrites a newer; equal: the last writer)."""
        before = self._stored(fact)
        if before is not None and fact.as_of < before.as_of:
            return
        self._shelf(fact)[key_of(fact)] = fact
        if isinstance(fact, Profile):
            if not isinstance(before, Profile) or before.time_zone != fact.time_zone:
                self._move(owner_of(fact), news, touched)
        elif fact != before:
            touched.add(type(fact), key_of(fact), news)

    def _move(self, person: Key, news: bool, touched: Touched) -> None:
        """Page: a new zone in the profile evaluates that person's bills. It may turn the period of a budget, too."""
        touched.movers[person] = news
        for bill in self.bills.values():
            if owner_of(bill) == person:
                touched.add(Bill, key_of(bill), news)

    def delete(self, fact: Fact, at: datetime) -> None:
        """Delete it by its key, if it is there. A pending form whose posted one goes stands for its purchase again."""
        if not isinstance(fact, Transaction):
            self._shelf(fact).pop(key_of(fact), None)
            return
        gone = self.forms.pop(key_of(fact), None)
        for form in self.forms.values():
            if gone is not None and (form.owner, form.other_form) == (gone.owner, gone.fact.id):
                form.other_form = None if form.fact.status is PENDING else form.other_form
        self.sum_budgets(at, Touched())

    # Budgets

    def _take_budget(self, budget: Budget, at: datetime, news: bool, touched: Touched) -> None:
        """What is reported as spent was spent in the period of its `as_of`."""
        key, before = key_of(budget), self.budgets.get(key_of(budget))
        if before is not None and budget.as_of < before.as_of:
            return
        self.budgets[key] = budget
        if budget.spent_source is SpentSource.REPORTED:
            spent = Spent(budget.spent, *self._period(budget, self.today(owner_of(budget), budget.as_of)))
            changed = (budget, spent) != (before, self.spent.get(key))
        else:
            spent, changed = self._derived(budget, at), budget != before
        if changed:
            self.spent[key] = spent
            touched.add(Budget, key, news)

    def sum_budgets(self, at: datetime, touched: Touched) -> None:
        """Sum every derived budget anew, and note those that changed."""
        for key, budget in self.budgets.items():
            if budget.spent_source is SpentSource.DERIVED:
                spent = self._derived(budget, at)
                if spent != self.spent[key]:
                    self.spent[key] = spent
                    owner = owner_of(budget)
                    causes = (touched.movers.get(owner), touched.spending.get((owner, budget.category)))
                    touched.add(Budget, key, any(causes))

    def _derived(self, budget: Budget, at: datetime) -> Spent:
        """Page: the category's transactions of the current period (refunds subtract, only its own currency counts). A
        pending form does not count beside its posted one, and what was taken back not at all.
        """
        first, until = self._period(budget, self.today(owner_of(budget), at))
        amount = Decimal(0)
        for form in self.forms.values():
            said = form.fact
            stands = said.status is POSTED or (said.status is PENDING and form.other_form in (None, said.id))
            belongs = (form.owner, said.category, said.currency) == (owner_of(budget), budget.category, budget.currency)
            if stands and belongs and first <= form.posted_on < until:
                amount -= said.amount
        return Spent(amount, first, until)

    def _period(self, budget: Budget, day: date) -> tuple[date, date]:
        """The period that holds a day: its first day, and the first day after it."""
        first, until = day, day + DAY
        while not begins(budget, first):
            first -= DAY
        while not begins(budget, until):
            until += DAY
        return first, until

    # Purchases

    def _take_transactions(
        self,
        brought: Iterable[Transaction],
        at: datetime,
        news: bool,
        touched: Touched,
        limits: Limits,
    ) -> None:
        changed: list[Form] = []
        new: set[Key] = set()
        for fact in brought:
            before = self.forms.get(key_of(fact))
            after = self._form(fact, before, at, news)
            if after is not None:
                self.forms[after.key] = after
                changed.append(after)
                if before is None:
                    new.add(after.key)
                touched.add(Transaction, after.key, not after.is_history)
                for form in (before or after, after):  # it may have changed its category
                    touched.add_spending(form, not after.is_history)
        for forms in pair(changed, new, self.forms, limits):
            news = any(form in changed and not form.is_history for form in forms)
            for form in forms:
                touched.add_spending(form, news)
        self._move_balances(changed, at, touched)

    def _form(self, fact: Transaction, before: Form | None, at: datetime, news: bool) -> Form | None:
        """What is stored of a transaction; None where it is older, or the same again."""
        owner = owner_of(fact)
        if fact.posted_at is not None:
            posted_at, posted_on = fact.posted_at, self.today(owner, fact.posted_at)
        else:  # Data model page: 12:00 local where the bank gave only a date.
            assert fact.posted_on is not None
            posted_at, posted_on = datetime.combine(fact.posted_on, NOON, self.zone(owner)), fact.posted_on
        posted_at = posted_at.astimezone(UTC)
        # Page: backfill, or older than `max_transaction_age` (counted from posted_on) at arrival.
        is_history = not news or self.today(owner, at) - posted_on > OLDEST_NEWS
        if before is None:
            purchase_id = (
                fact.pending_transaction_id or fact.id
            )  # Page: by `pending_transaction_id` where there is one.
            return Form(fact, posted_at, posted_on, is_history, at, purchase_id, posted_on)
        if fact.as_of < before.fact.as_of:
            return None
        is_repeat = replace(fact, as_of=before.fact.as_of) == before.fact
        if is_repeat and (posted_at, posted_on) == (before.posted_at, before.posted_on):
            before.fact = fact  # known as of later, and no change
            return None
        booked = before.fact.status is PENDING and fact.status is POSTED  # under its own id: it waits for no other form
        other_form = fact.id if booked and before.other_form is None else before.other_form
        after = replace(before, fact=fact, is_history=is_history, other_form=other_form)
        after.posted_at, after.posted_on = posted_at, posted_on
        return after

    def _move_balances(self, changed: Sequence[Form], at: datetime, touched: Touched) -> None:
        """Page: the newest `balance_after` by (posted_at, order in batch) moves the balance and sets the account's
        `as_of` to posted_at, also in a backfill. To now, where that is to come (test_facts).
        """
        newest: dict[tuple[Key, Key], Form] = {}
        for form in sorted(changed, key=lambda form: form.posted_at):
            if form.fact.balance_after is not None:
                newest[(form.fact.partner_id, form.fact.account_id), form.owner] = form
        for (key, owner), form in newest.items():
            account, as_of = self.accounts.get(key), min(form.posted_at, at)
            if account is not None and owner_of(account) == owner and as_of >= account.as_of:
                assert form.fact.balance_after is not None
                moved = replace(account, balance=form.fact.balance_after, as_of=as_of)
                if moved != account:
                    self.accounts[key] = moved
                    touched.add(Account, key, not form.is_history)


def key_of(fact: Fact) -> Key:
    """(partner, id)."""
    return fact.partner_id, fact.id


def owner_of(fact: Fact) -> Key:
    """(partner, user)."""
    return fact.partner_id, fact.user_id


def begins(budget: Budget, day: date) -> bool:
    """Whether a period begins on `day`: on a Monday, a 1st, a 1 January, or on the bank's own day."""
    first = budget.starts_on or date(2024, 1, 1)  # which was all three
    if budget.period is BudgetPeriod.WEEKLY:
        return day.weekday() == first.weekday()
    return is_day_of_month(first.day, day) and (budget.period is BudgetPeriod.MONTHLY or day.month == first.month)


def is_day_of_month(number: int, day: date) -> bool:
    """Page: a 31st falls on the month's last day and returns to the 31st after it."""
    is_last = (day + DAY).day == 1
    return day.day == number or (is_last and day.day < number)
