"""Made-up stories for the proof against the reference: what banks say, what owners wish, and how time goes by."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

from hypothesis import strategies as st

from tocsin_evaluator.model.alerts import (
    AccountThreshold,
    Condition,
    GoalMilestones,
    MerchantName,
    SpendingTarget,
    TransactionLimit,
    UpcomingBill,
)
from tocsin_evaluator.model.facts import Bill, Budget, Fact, Transaction
from tocsin_evaluator.model.words import (
    BudgetPeriod,
    Direction,
    Frequency,
    MatchType,
    MoneyFlow,
    Recurrence,
    Repeat,
    SpentSource,
    TransactionStatus,
)

from .reference_purchases import Key
from .support import account, bill, budget, goal, profile, transaction

#: Three people of two banks; the second bank's has the ids of the first one's first.
PEOPLE: tuple[Key, ...] = ((1, 1), (1, 2), (2, 1))
CASTS = (PEOPLE[:1], PEOPLE[:1], PEOPLE[:2], PEOPLE[::2], PEOPLE)
ZONES = ("UTC", "America/New_York", "Europe/London", "Asia/Kathmandu", "Pacific/Apia", "Australia/Lord_Howe")
#: An ordinary Monday, hours before clocks change in spring and in autumn, a leap day, the turn of a year.
BEGINNINGS = tuple(
    datetime.fromisoformat(each).replace(tzinfo=UTC)
    for each in ("2025-11-03T12:00", "2026-03-08T03:00", "2025-10-25T22:00", "2024-02-28T17:00", "2025-12-31T09:00")
)
#: How many days lie between two occurrences of a bill, about.
SPACING = dict(zip(Recurrence, (0, 7, 14, 31, 91, 365), strict=True))
#: Stands in a fact for what is only known when it is said.
LATER = datetime(1, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MOMENTS = (timedelta(seconds=30), timedelta(seconds=61))
SPANS = (*MOMENTS, *MOMENTS, HOUR, HOUR, 6 * HOUR, 6 * HOUR, 19 * HOUR, DAY, 50 * HOUR, 8 * DAY)


@dataclass(frozen=True)
class Said:
    """A fact as the bank knew it some time ago; a transaction was posted some time ago, to the second or by its day."""

    fact: Fact
    known_ago: timedelta
    posted_ago: timedelta = timedelta(0)
    by_day: bool = False

    def at(self, now: datetime) -> Fact:
        """The fact, said now."""
        if not isinstance(self.fact, Transaction):
            return replace(self.fact, as_of=now - self.known_ago)
        # no two transactions of an account at the very same instant: which of their balances is newer is told elsewhere
        posted_at = now - self.posted_ago + timedelta(microseconds=self.fact.id)
        fact = replace(self.fact, as_of=now - self.known_ago, posted_at=posted_at)
        if self.by_day:
            return replace(fact, posted_at=None, posted_on=posted_at.date(), balance_after=None)
        return fact


@dataclass(frozen=True)
class Again:
    """A fact that was said before, word for word, by its number."""

    number: int


@dataclass(frozen=True)
class Post:
    """A batch."""

    replica: int
    facts: tuple[Said | Again, ...]
    backfill: bool = False


@dataclass(frozen=True)
class Delete:
    """The deletion of a fact that was said before, by its number."""

    replica: int
    number: int


@dataclass(frozen=True)
class Create:
    """A new alert."""

    replica: int
    owner: Key
    condition: Condition
    cooldown: timedelta
    snoozed_for: timedelta | None


@dataclass(frozen=True)
class Change:
    """An edit of an alert's condition, where it is of the alert's kind."""

    replica: int
    number: int
    condition: Condition


@dataclass(frozen=True)
class Ask:
    """EvaluateAlert."""

    replica: int
    number: int


@dataclass(frozen=True)
class Sweep:
    """A sweep."""

    replica: int


@dataclass(frozen=True)
class Bills:
    """A bills run."""

    replica: int


@dataclass(frozen=True)
class Wait:
    """Time goes by, and a bills run may be on time after it."""

    replica: int
    span: timedelta
    bills: bool


Step: TypeAlias = Post | Delete | Create | Change | Ask | Sweep | Bills | Wait


@dataclass(frozen=True, repr=False)
class Story:
    """What happens, from when on."""

    begin: datetime
    steps: tuple[Step, ...]

    def __repr__(self) -> str:
        """A line a step."""
        return "\n  ".join([f"from {self.begin} on:", *map(repr, self.steps)])


_REPLICAS = st.integers(0, 2)
_NUMBERS = st.sampled_from([1, 1, 1, 2])
_AGES = st.sampled_from([*[timedelta(0)] * 5, timedelta(minutes=1), 2 * HOUR, 30 * HOUR, 49 * HOUR])
_POSTED_AGO = st.sampled_from([*[timedelta(0)] * 3, HOUR, DAY, 4 * DAY, 5 * DAY, 6 * DAY, -DAY, -20 * DAY])
_CURRENCIES = st.sampled_from([*["USD"] * 6, "EUR"])
_PERCENTS = st.sets(st.sampled_from([1, 25, 50, 75, 80, 100, 120]), min_size=1).map(lambda each: tuple(sorted(each)))
_START_DAYS = st.sampled_from(
    [None, None, *[date(2024, m, d) for m, d in ((1, 31), (2, 29), (4, 6), (6, 30), (9, 15))]]
)


def _decimals(*amounts: str) -> st.SearchStrategy[Decimal]:
    return st.sampled_from(amounts).map(Decimal)


def _id(user: int, n: int) -> int:
    """The n-th account, goal, budget, bill or transaction of a bank's user; banks use the same numbers."""
    return user * 10 + n


@dataclass(frozen=True)
class Theme:
    """What a story is about: kinds of fact and of alert, by their letters. What is named more often comes more often.

    Facts: profile, account, goal, budget, bill (r), transaction. Alerts: account, goal, merchant, budget, transaction
    limit, bill (r).
    """

    facts: str
    alerts: str


#: A story about everything meets everything, and one about little meets its rare cases.
THEMES = {
    "everything": Theme("paaaaggbbrtttttt", "aagmmbtr"),
    "balances": Theme("aaaat", "a"),
    "purchases": Theme("ptttttttt", "mmt"),
    "budgets": Theme("pbbttttttt", "bbbm"),
    "bills and goals": Theme("prrrg", "rrg"),
}


@dataclass(frozen=True)
class Setting:
    """When, among whom and about what a story plays."""

    begin: datetime
    cast: tuple[Key, ...]
    theme: Theme


@st.composite
def _facts(draw: st.DrawFn, setting: Setting, person: Key, kind: str | None = None) -> Said:
    """Something about a person."""
    partner, user = person
    known_ago = draw(_AGES)
    whose = draw(st.sampled_from([*[user] * 15, 3 - user]))  # now and then under an id that may be another's
    id_ = _id(whose, draw(_NUMBERS))
    more: dict[str, Any] = {"user_id": user, "partner_id": partner}
    match kind or draw(st.sampled_from(setting.theme.facts)):
        case "p":
            fact: Fact = profile(draw(st.sampled_from(ZONES)), LATER, user=user, partner=partner)
        case "a":
            balance = draw(st.sampled_from(["100", "900", "499.9999", "900", "500", "500.01"]))
            closed = draw(st.sampled_from([*[False] * 9, True]))
            fact = account(id_, balance, LATER, currency=draw(_CURRENCIES), closed=closed, **more)
        case "g":
            current = draw(st.sampled_from(["-5", "10", "249.99", "250", "600", "800", "1000", "1300"]))
            target = draw(st.sampled_from([*["1000"] * 5, "0", "0.03"]))
            fact = goal(id_, current, LATER, target=target, **more)
        case "b":
            fact = draw(_budgets(id_, more))
        case "r":
            fact = draw(_bills(setting.begin.date(), id_, more))
        case _:
            return Said(draw(_transactions(user, more)), known_ago, draw(_POSTED_AGO), draw(st.booleans()))
    return Said(fact, known_ago)


@st.composite
def _budgets(draw: st.DrawFn, id_: int, more: dict[str, Any]) -> Budget:
    return budget(
        id_,
        LATER,
        category=draw(st.sampled_from(["groceries", "rent"])),
        currency=draw(_CURRENCIES),
        amount=draw(_decimals("100", "400", "400", "0")),
        period=draw(st.sampled_from(BudgetPeriod)),
        starts_on=draw(_START_DAYS),
        spent_source=draw(st.sampled_from([*SpentSource, SpentSource.DERIVED])),
        spent=draw(_decimals("-10", "0", "99.9999", "200", "320", "400", "480")),
        **more,
    )


@st.composite
def _bills(draw: st.DrawFn, near: date, id_: int, more: dict[str, Any]) -> Bill:
    """With an occurrence soon after a day, for most recurrences."""
    recurrence = draw(st.sampled_from(Recurrence))
    due = near + (draw(st.sampled_from([0, -SPACING[recurrence]])) + draw(st.integers(-1, 6))) * DAY
    paid = draw(st.sampled_from([None, None, None, due, due + 7 * DAY, due + 31 * DAY]))
    return bill(id_, due, LATER, recurrence=recurrence, paid_through=paid, **more)


@st.composite
def _transactions(draw: st.DrawFn, user: int, more: dict[str, Any]) -> Transaction:
    """A transaction, or a new version of one. The second of a person's names the first as its pending form."""
    n = draw(st.integers(1, 7))
    return transaction(
        _id(user, n),
        draw(st.sampled_from(["-350", "-200", "-199.9999", "-66", "-60", "-60", "-60", "-50", "60"])),
        LATER,
        LATER,
        account_id=_id(user, draw(_NUMBERS)),
        currency=draw(_CURRENCIES),
        merchant=draw(st.sampled_from(["Corner Shop", "Corner Shop", "corner  SHOP", "Café"])),
        category=draw(st.sampled_from(["groceries", "groceries", "rent", ""])),
        status=draw(st.sampled_from([*TransactionStatus, TransactionStatus.PENDING, TransactionStatus.POSTED])),
        pending_transaction_id=_id(user, 1) if n == 2 else None,
        is_estimate=draw(st.booleans()),
        balance_after=draw(st.none() | _decimals("480", "700")),
        **more,
    )


@st.composite
def _conditions(draw: st.DrawFn, kinds: str, person: Key) -> Condition:
    """A wish about a person's things, or now and then about another's."""
    _, user = person
    subject = _id(draw(st.sampled_from([*[user] * 9, 3 - user])), draw(_NUMBERS))
    match draw(st.sampled_from(kinds)):
        case "a":
            direction, repeat = draw(st.sampled_from(Direction)), draw(st.sampled_from(Repeat))
            return AccountThreshold(subject, draw(_decimals("490", "500")), draw(_CURRENCIES), direction, repeat)
        case "g":
            return GoalMilestones(subject, draw(_PERCENTS))
        case "m":
            pattern = draw(st.sampled_from(["Corner SHOP", "shop", "CAFÉ", "café"]))
            return MerchantName(pattern, draw(st.sampled_from(MatchType)), draw(st.sampled_from(Frequency)))
        case "b":
            return SpendingTarget(subject, draw(_PERCENTS))
        case "t":
            account_id, flow = draw(st.sampled_from([None, None, subject])), draw(st.sampled_from(MoneyFlow))
            return TransactionLimit(draw(_decimals("50", "60", "200")), draw(_CURRENCIES), account_id, flow)
        case _:
            return UpcomingBill(subject, draw(st.sampled_from([0, 1, 3, 7, 21])))


@st.composite
def _creations(draw: st.DrawFn, setting: Setting) -> Create:
    person = draw(st.sampled_from(setting.cast))
    return Create(
        draw(_REPLICAS),
        person,
        draw(_conditions(setting.theme.alerts, person)),
        cooldown=draw(st.sampled_from([timedelta(minutes=5), 6 * HOUR])),
        snoozed_for=draw(st.sampled_from([*[None] * 4, HOUR, HOUR, DAY])),
    )


@st.composite
def _posts(draw: st.DrawFn, setting: Setting) -> Post:
    """A batch; a third of it are repeats."""
    batch: list[Said | Again] = []
    for _ in range(draw(st.integers(1, 6))):
        is_new = draw(st.sampled_from([True, True, False]))
        person = draw(st.sampled_from(setting.cast))
        batch.append(draw(_facts(setting, person)) if is_new else Again(draw(st.integers(0, 50))))
    return Post(draw(_REPLICAS), tuple(batch), draw(st.sampled_from([*[False] * 7, True])))


@st.composite
def _steps(draw: st.DrawFn, setting: Setting) -> Step:
    """Half of what happens are batches."""
    replica, number = draw(_REPLICAS), draw(st.integers(0, 50))
    match draw(st.sampled_from("pppppppppdccxxxaasbbwwww")):
        case "p":
            return draw(_posts(setting))
        case "d":
            return Delete(replica, number)
        case "c":
            return draw(_creations(setting))
        case "x":
            return Change(replica, number, draw(_conditions(setting.theme.alerts, draw(st.sampled_from(setting.cast)))))
        case "a":
            return Ask(replica, number)
        case "s":
            return Sweep(replica)
        case "b":
            return Bills(replica)
        case _:
            return Wait(replica, draw(st.sampled_from(SPANS)), draw(st.booleans()))


@st.composite
def stories(draw: st.DrawFn, theme: Theme) -> Story:
    """Some alerts, something of each kind about each person, more alerts, and then anything."""
    setting = Setting(draw(st.sampled_from(BEGINNINGS)), draw(st.sampled_from(CASTS)), theme)
    alerts = draw(st.lists(_creations(setting), min_size=8, max_size=12))
    before = draw(st.integers(0, 8))
    opening = [
        Post(0, tuple(draw(_facts(setting, person, kind)) for kind in "paagbbrr" if kind in theme.facts))
        for person in setting.cast
    ]
    rest = draw(st.lists(_steps(setting), min_size=20, max_size=40))
    return Story(setting.begin, (*alerts[:before], *opening, *alerts[before:], *rest))
