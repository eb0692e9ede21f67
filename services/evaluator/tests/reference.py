"""A plain, slow evaluator that the real one is held against: one alert, one fact and one day after the other.

Each rule is quoted from the evaluation page of the design, or says where else it stands. What banks said is kept in
`reference_facts`, with purchases in `reference_purchases`; here is what fires.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

from tocsin_evaluator.model.alerts import (
    AccountThreshold,
    Condition,
    GoalMilestones,
    MerchantName,
    SpendingTarget,
    TransactionLimit,
    UpcomingBill,
)
from tocsin_evaluator.model.facts import Account, Bill, Budget, Fact, Goal, Transaction
from tocsin_evaluator.model.words import (
    BudgetPeriod,
    Direction,
    Frequency,
    MatchType,
    Recurrence,
    Repeat,
    TransactionStatus,
    WorkClass,
)

from .reference_facts import DAY, OLDEST_NEWS, Known, Touched, is_day_of_month, owner_of
from .reference_purchases import Form, Key, normalised, reaches

MORNING = time(6)
OLDEST_BALANCE = timedelta(hours=48)
LOOK_BACK = timedelta(seconds=60)

Subject = TypeVar("Subject", Account, Goal, Budget, Bill)


@dataclass(frozen=True, order=True)
class Told:
    """A firing: of which alert (by its number), for which occurrence, when and in which class."""

    alert: int
    key: str
    at: datetime
    work_class: WorkClass


@dataclass
class Watch:
    """An alert, with what it remembers: its occurrences by key, each told (True) or passed silently."""

    number: int
    owner: Key
    condition: Condition
    changed_at: datetime
    cooldown: timedelta
    snoozed_until: datetime | None
    version: int = 1
    armed: bool = True
    quiet_until: datetime | None = None
    occurrences: dict[str, bool] = field(default_factory=dict)

    @property
    def partner_id(self) -> int:
        """Whose customer its owner is."""
        return self.owner[0]

    def is_asleep(self, at: datetime) -> bool:
        """Whether it is snoozed."""
        return self.snoozed_until is not None and at < self.snoozed_until


class Reference:
    """All partners' facts and alerts, and what was told."""

    def __init__(self) -> None:
        self.known = Known()
        self.alerts: list[Watch] = []
        self.told: list[Told] = []
        self._days_done: set[tuple[str, date]] = set()

    # What happens

    def post(self, facts: Sequence[Fact], at: datetime, *, backfill: bool = False) -> set[int]:
        """Page: a batch is one database transaction. All of it is stored, then what it touched is evaluated once.

        Answers the positions refused.
        """
        limits = [(each.owner, each.condition) for each in self.alerts if isinstance(each.condition, TransactionLimit)]
        touched, refused = self.known.take_in(facts, at, not backfill, limits)
        for alert in self.alerts:
            for (kind, key), news in touched.facts.items():
                if not news:  # Page: history is not news; it is stored and fires nothing.
                    continue
                if kind is Transaction:
                    self._consider_purchase(alert, self.known.forms[key], at, WorkClass.REALTIME)
                elif (kind, key) == _subject_of(alert):
                    self._evaluate(alert, at, WorkClass.REALTIME)
        return refused

    def create(
        self, owner: Key, condition: Condition, cooldown: timedelta, snoozed_until: datetime | None, at: datetime
    ) -> None:
        """Page: creating or editing an alert evaluates it once, after its commit."""
        alert = Watch(len(self.alerts), owner, condition, at, cooldown, snoozed_until)
        self.alerts.append(alert)
        self._evaluate(alert, at, WorkClass.USER, just_edited=True)

    def change(self, alert: Watch, condition: Condition, at: datetime) -> None:
        """Page: a changed condition raises condition_version, clears quiet_until, arms."""
        alert.condition, alert.changed_at, alert.version = condition, at, alert.version + 1
        alert.quiet_until, alert.armed = None, True
        self._evaluate(alert, at, WorkClass.USER, just_edited=True)

    def ask(self, alert: Watch, at: datetime) -> None:
        """EvaluateAlert."""
        self._evaluate(alert, at, WorkClass.USER)

    def sweep(self, at: datetime) -> None:
        """Page: account_threshold, goal, spending_target; it finds turned periods."""
        self.known.sum_budgets(at, Touched())
        for alert in self.alerts:
            if isinstance(alert.condition, AccountThreshold | GoalMilestones | SpendingTarget):
                self._evaluate(alert, at, WorkClass.PERIODIC)

    def run_bills(self, at: datetime) -> None:
        """Page: every zone whose local time is past 06:00 and whose local date is not done yet; who sleeps then is
        looked at in the runs of a day after the snooze (test_sweep).
        """
        alerts = [alert for alert in self.alerts if isinstance(alert.condition, UpcomingBill)]
        for alert in alerts:
            if alert.snoozed_until is not None and at - timedelta(hours=25) < alert.snoozed_until <= at:
                self._evaluate(alert, at, WorkClass.BILLS)
        for zone in {"UTC", *(profile.time_zone for profile in self.known.people.values())}:
            local = at.astimezone(ZoneInfo(zone))
            if local.time() >= MORNING and (zone, local.date()) not in self._days_done:
                self._days_done.add((zone, local.date()))
                for alert in alerts:
                    if self.known.zone(alert.owner).key == zone:
                        self._evaluate(alert, at, WorkClass.BILLS)

    # What that makes true

    def _evaluate(self, alert: Watch, at: datetime, why: WorkClass, *, just_edited: bool = False) -> None:
        """One alert, whatever it looks at."""
        match alert.condition:
            case AccountThreshold() as condition:
                self._consider_balance(alert, condition, at, why)
            case GoalMilestones() as condition:
                self._consider_goal(alert, condition, at, why, silently=just_edited)
            case SpendingTarget() as condition:
                self._consider_budget(alert, condition, at, why)
            case UpcomingBill() as condition:
                self._consider_bill(alert, condition, at, why, any_hour=just_edited)
            case MerchantName() | TransactionLimit():
                self._look_back(alert, at, why)

    def _tell(self, alert: Watch, key: str, at: datetime, why: WorkClass) -> None:
        """Once per occurrence. Page: keys carry the alert's condition_version."""
        versioned = f"{alert.version}:{key}"
        if versioned not in alert.occurrences:
            alert.occurrences[versioned] = True
            self.told.append(Told(alert.number, versioned, at, why))

    def _tell_highest(self, alert: Watch, reached: Sequence[str], at: datetime, why: WorkClass, silently: bool) -> None:
        """Page: a jump from 20 to 80 fires once, for 75; 25 and 50 are recorded as passed."""
        if reached and not silently:
            self._tell(alert, reached[-1], at, why)
        for key in reached:
            alert.occurrences.setdefault(f"{alert.version}:{key}", False)

    def _consider_balance(self, alert: Watch, condition: AccountThreshold, at: datetime, why: WorkClass) -> None:
        """Page: balance < threshold (below), > threshold (above); account open; equality is neither."""
        account = self._mine(alert, self.known.accounts.get((alert.partner_id, condition.account_id)))
        # Page: an alert with a currency fires only on facts in it. A state kind that sleeps is left untouched.
        if account is None or account.currency != condition.currency or alert.is_asleep(at):
            return
        below = condition.direction is Direction.BELOW
        beyond = account.balance < condition.threshold if below else account.balance > condition.threshold
        is_true = beyond and not account.closed
        is_fresh = at - account.as_of <= OLDEST_BALANCE  # Page: older than 48 h does not fire.
        key = f"at:{at:%Y-%m-%dT%H:%M:%S.%f}Z"
        if condition.repeat is Repeat.ON_CROSSING:  # Page: once, re-armed when it turns false.
            if is_true and is_fresh and alert.armed:
                self._tell(alert, key, at, why)
                alert.armed = False
            elif not is_true:
                alert.armed = True
        elif is_true and is_fresh and (alert.quiet_until is None or at >= alert.quiet_until):
            self._tell(alert, key, at, why)
            alert.quiet_until = at + alert.cooldown  # Page: each cooldown (6 h) while true.

    def _consider_goal(
        self, alert: Watch, condition: GoalMilestones, at: datetime, why: WorkClass, *, silently: bool
    ) -> None:
        """Page: current x 100 ≥ milestone x target; target 0 never fires; a goal's reached milestones are recorded as
        passed silently when the alert is created or edited. Asleep or not (test_edits).
        """
        goal = self._mine(alert, self.known.goals.get((alert.partner_id, condition.goal_id)))
        if goal is None or goal.target_amount == 0 or (alert.is_asleep(at) and not silently):
            return
        reached = [p for p in condition.milestones if goal.current_amount * 100 >= p * goal.target_amount]
        self._tell_highest(alert, [f"milestone:{p}" for p in reached], at, why, silently)

    def _consider_budget(self, alert: Watch, condition: SpendingTarget, at: datetime, why: WorkClass) -> None:
        """Page: spent x 100 ≥ p x amount, p not yet sent this period; highest newly reached only; amount 0 never fires.

        What was spent in a period that is over says nothing of the one that runs.
        """
        key = (alert.partner_id, condition.budget_id)
        budget = self._mine(alert, self.known.budgets.get(key))
        if budget is None or budget.amount == 0 or alert.is_asleep(at):
            return
        spent = self.known.spent[key]
        if spent.first <= self.known.today(alert.owner, at) < spent.until:
            reached = [p for p in condition.thresholds if spent.amount * 100 >= p * budget.amount]
            period = _period_name(budget.period, spent.first)
            self._tell_highest(alert, [f"{period}:{p}" for p in reached], at, why, silently=False)

    def _consider_bill(
        self, alert: Watch, condition: UpcomingBill, at: datetime, why: WorkClass, *, any_hour: bool
    ) -> None:
        """Page: unpaid, 0 ≤ days until due ≤ days_before, calendar days in the user's zone; from 06:00 local (except
        when the alert is created or edited).
        """
        bill = self._mine(alert, self.known.bills.get((alert.partner_id, condition.bill_id)))
        local = at.astimezone(self.known.zone(alert.owner))
        if bill is None or alert.is_asleep(at) or (local.time() < MORNING and not any_hour):
            return
        for days in range(condition.days_before + 1):
            day = local.date() + days * DAY
            if falls_due(bill, day) and (bill.paid_through is None or day > bill.paid_through):
                self._tell(alert, f"due:{day}", at, why)
                return  # Page: the due date is the first unpaid occurrence not before the local today.

    def _consider_purchase(self, alert: Watch, form: Form, at: datetime, why: WorkClass) -> None:
        """Page: `reversed` never fires. What comes while an event kind sleeps is gone."""
        if form.owner != alert.owner or alert.is_asleep(at) or form.fact.status is TransactionStatus.REVERSED:
            return
        match alert.condition:
            case MerchantName() as condition:
                # Page: normalised merchant equals or contains the normalised pattern; any currency.
                merchant, pattern = normalised(form.fact.merchant), normalised(condition.merchant_pattern)
                is_true = merchant == pattern if condition.match_type is MatchType.EXACT else pattern in merchant
                once_a_day = condition.frequency is Frequency.FIRST_OF_DAY
            case TransactionLimit() as limit:
                is_true, once_a_day = reaches(limit, form.fact) and form.fact.currency == limit.currency, False
            case _:
                return
        if is_true:
            self._tell(alert, f"day:{form.purchase_on}" if once_a_day else f"purchase:{form.purchase_id}", at, why)

    def _look_back(self, alert: Watch, at: datetime, why: WorkClass) -> None:
        """Page: purchases with received_at ≥ max(condition_changed_at - 60 s, now - max_transaction_age) and not
        backfill. Not those it slept through: they are gone.
        """
        since = max(alert.changed_at - LOOK_BACK, at - OLDEST_NEWS, alert.snoozed_until or alert.changed_at - LOOK_BACK)
        for form in self.known.forms.values():
            if form.received_at >= since and not form.is_history:
                self._consider_purchase(alert, form, at, why)

    def _mine(self, alert: Watch, fact: Subject | None) -> Subject | None:
        """Page: same partner AND same user."""
        return fact if fact is not None and owner_of(fact) == alert.owner else None


def _subject_of(alert: Watch) -> tuple[type[Fact], Key] | None:
    """The fact that a state kind looks at."""
    match alert.condition:
        case AccountThreshold() as condition:
            return Account, (alert.partner_id, condition.account_id)
        case GoalMilestones() as condition:
            return Goal, (alert.partner_id, condition.goal_id)
        case SpendingTarget() as condition:
            return Budget, (alert.partner_id, condition.budget_id)
        case UpcomingBill() as condition:
            return Bill, (alert.partner_id, condition.bill_id)
        case _:
            return None


def _period_name(period: BudgetPeriod, first: date) -> str:
    """Page: `2025-10` for a month from the 1st, `2025` for a year from 1 January, else the period's first local day."""
    if period is BudgetPeriod.MONTHLY and first.day == 1:
        return f"{first:%Y-%m}"
    if period is BudgetPeriod.YEARLY and (first.month, first.day) == (1, 1):
        return f"{first:%Y}"
    return f"{first:%Y-%m-%d}"


def falls_due(bill: Bill, day: date) -> bool:
    """Whether a bill has an occurrence on `day`, paid or not."""
    days = (day - bill.due_date).days
    months = (day.year - bill.due_date.year) * 12 + day.month - bill.due_date.month
    is_its_day = is_day_of_month(bill.due_date.day, day)
    return (
        days >= 0
        and {
            Recurrence.NONE: days == 0,
            Recurrence.WEEKLY: days % 7 == 0,
            Recurrence.EVERY_TWO_WEEKS: days % 14 == 0,
            Recurrence.MONTHLY: is_its_day,
            Recurrence.QUARTERLY: is_its_day and months % 3 == 0,
            Recurrence.YEARLY: is_its_day and months % 12 == 0,
        }[bill.recurrence]
    )
