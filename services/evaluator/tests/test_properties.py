"""What holds for every day, every period, every change of clocks and every jump: walked through where that is cheap."""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise, product
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Date, DateTime, Integer, TableValuedAlias, Text, bindparam, column, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

from tocsin_evaluator.facts.periods import Period, period_of
from tocsin_evaluator.facts.purchases import chosen_pairs
from tocsin_evaluator.kinds.kind import Rows, rows_over
from tocsin_evaluator.kinds.spending_target import period
from tocsin_evaluator.kinds.upcoming_bill import due_on
from tocsin_evaluator.model.alerts import GoalMilestones
from tocsin_evaluator.model.words import BudgetPeriod, Recurrence
from tocsin_evaluator.store.purchases import Candidate
from tocsin_evaluator.store.tables import budgets
from tocsin_kit.clock import SteppedClock

from .reference import falls_due
from .support import Bench, bill, goal

DAY = timedelta(days=1)
#: No summer time since 2011, and no other change.
UNCHANGED = ("UTC", "Asia/Kathmandu", "Asia/Kolkata", "Asia/Tokyo", "America/Phoenix")
SETTLED = (
    *UNCHANGED,
    *("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "America/St_Johns"),
    *("Europe/London", "Europe/Berlin", "Europe/Lisbon", "America/Sao_Paulo", "Australia/Sydney"),
    *("Pacific/Apia", "Australia/Lord_Howe", "Pacific/Chatham", "Pacific/Auckland", "Asia/Tehran"),
)
#: Clocks that were changed stay so for longer than this.
A_WHILE = timedelta(days=10)
#: How often something is put into a savings account, or taken out.
STEPS = 6
#: Days that not every month has, the last days of short months, the 29th of February, and an ordinary day.
AWKWARD = [
    *[date(2023, 1, n) for n in (28, 29, 30, 31)],
    *[date(2023, m, n) for m, n in ((2, 28), (3, 30), (3, 31), (4, 30), (8, 31), (11, 30), (12, 31))],
    date(2024, 2, 29),
    date(2023, 6, 15),
]
#: Before the year 2100, which has no 29th of February though 2096 and 2104 have one.
BEFORE_A_CENTURY = [date(2096, 2, 29), date(2096, 1, 30)]


def days_from(first: date, n: int) -> list[date]:
    """So many days in a row."""
    return [first + number * DAY for number in range(n)]


def table_of(**columns: TypeEngine[Any]) -> TableValuedAlias:
    """Arrays, one a column, as a table."""
    arrays = [bindparam(name, type_=ARRAY(type_)) for name, type_ in columns.items()]
    shape = [column(name, type_) for name, type_ in columns.items()]
    return func.unnest(*arrays).table_valued(*shape, name="given").render_derived()


async def _due(bench: Bench, cases: Sequence[tuple[date, Recurrence, date | None, date]]) -> list[date | None]:
    """What `due_on` answers for (first occurrence, recurrence, paid through, today), all in one statement."""
    given_ = table_of(n=Integer(), first=Date(), recurrence=Text(), paid=Date(), today=Date())
    c = given_.c
    statement = select(due_on(c.first, c.recurrence, c.paid, c.today)).select_from(given_).order_by(c.n)
    firsts, recurrences, paids, todays = zip(*cases, strict=True)
    parameters = {"n": [*range(len(cases))], "first": firsts, "paid": paids, "today": todays}
    async with bench.engine.connect() as connection:
        return [
            *await connection.scalars(statement, {**parameters, "recurrence": [each.value for each in recurrences]})
        ]


def _first_unpaid(occurrences: Sequence[date], paid: date | None, today: date) -> date | None:
    """By the definition: of all occurrences, in order, the first that is neither over nor paid."""
    place = bisect_left(occurrences, max(today, paid + DAY) if paid else today)
    return occurrences[place] if place < len(occurrences) else None


async def test_a_bills_next_due_day_on_every_day_of_five_years(bench: Bench, clock: SteppedClock) -> None:
    """Each awkward first day with each recurrence; every seventh day also paid through another day around it."""
    cases: list[tuple[date, Recurrence, date | None, date]] = []
    wanted = []
    for first, recurrence in product([*AWKWARD, *BEFORE_A_CENTURY], Recurrence):
        it = bill(1, first, clock.now(), recurrence=recurrence)
        days = days_from(first - 10 * DAY, 5 * 366)
        occurrences = [day for day in days_from(first, 5 * 366 + 400) if falls_due(it, day)]
        for n, today in enumerate(days):
            paid = None if n % 7 else today + (n % 83 - 40) * DAY
            for paid_through in {None, paid}:
                cases.append((first, recurrence, paid_through, today))
                wanted.append(_first_unpaid(occurrences, paid_through, today))
    seen = await _due(bench, cases)
    assert [each for each in zip(cases, seen, wanted, strict=True) if each[1] != each[2]][:5] == []


async def test_a_31st_comes_back_after_each_shorter_month(bench: Bench) -> None:
    """The occurrences themselves, walked from one to the next, over a leap year and the next."""
    walked = [date(2024, 1, 31)]
    while walked[-1] < date(2025, 3, 31):
        [following] = await _due(bench, [(date(2024, 1, 31), Recurrence.MONTHLY, walked[-1], walked[-1])])
        assert following is not None
        walked.append(following)
    assert [f"{day:%m-%d}" for day in walked] == [
        *("01-31", "02-29", "03-31", "04-30", "05-31", "06-30", "07-31", "08-31", "09-30", "10-31", "11-30", "12-31"),
        *("01-31", "02-28", "03-31"),
    ]


#: Every day of a month, and every day of a leap year, may be the first of a period.
START_DAYS = {
    BudgetPeriod.WEEKLY: days_from(date(2024, 1, 1), 7),
    BudgetPeriod.MONTHLY: days_from(date(2024, 1, 1), 31),
    BudgetPeriod.YEARLY: days_from(date(2024, 1, 1), 366),
}
LENGTHS = {BudgetPeriod.WEEKLY: {7}, BudgetPeriod.MONTHLY: {28, 29, 30, 31}, BudgetPeriod.YEARLY: {365, 366}}
#: From before the start days to a leap year after them.
FIRST_DAY, YEARS = date(2022, 12, 20), 6


def _periods(kind: BudgetPeriod, starts_on: date | None) -> list[Period]:
    """All periods of six years, walked from each to the next."""
    periods = [period_of(kind, starts_on, FIRST_DAY)]
    while periods[-1].until < FIRST_DAY + YEARS * 366 * DAY:
        periods.append(period_of(kind, starts_on, periods[-1].until))
    return periods


def test_every_day_is_in_exactly_one_period() -> None:
    """Periods touch, are as long as a week, a month or a year, and each day names the one that holds it."""
    for kind, starts in START_DAYS.items():
        for starts_on in starts:
            periods = _periods(kind, starts_on)
            assert all(one.until == other.first for one, other in pairwise(periods)), (kind, starts_on)
            assert {(each.until - each.first).days for each in periods} <= LENGTHS[kind], (kind, starts_on)
            assert starts_on in {each.first for each in periods}
            for each in periods if kind is not BudgetPeriod.YEARLY else periods[::3]:
                for day in days_from(each.first, (each.until - each.first).days):
                    assert period_of(kind, starts_on, day) == each, (kind, starts_on, day)


def test_a_period_begins_on_its_own_day_or_on_the_last_of_a_shorter_month() -> None:
    """So a period from the 31st begins on 28 February, and from 29 February on the 28th of other years."""
    for kind in (BudgetPeriod.MONTHLY, BudgetPeriod.YEARLY):
        for starts_on in START_DAYS[kind]:
            for first in (each.first for each in _periods(kind, starts_on)):
                is_last_of_month = (first + DAY).day == 1
                assert first.day == starts_on.day or (is_last_of_month and first.day < starts_on.day), (kind, first)
                assert kind is BudgetPeriod.MONTHLY or first.month == starts_on.month


async def test_no_two_periods_of_a_budget_have_the_same_name(bench: Bench) -> None:
    """And a calendar month and a calendar year go by their own names: the rows' SQL, for every first day there is."""
    cases = [(kind, each.first) for kind, starts in START_DAYS.items() for on in starts for each in _periods(kind, on)]
    cases = sorted(set(cases))
    given_ = table_of(n=Integer(), period=Text(), spent_from=Date())
    over = rows_over(budgets)
    statement = select(period(Rows(over.alert, given_, over.person))).select_from(given_).order_by(given_.c.n)
    parameters = {
        "n": [*range(len(cases))],
        "period": [kind.value for kind, _ in cases],
        "spent_from": [first for _, first in cases],
    }
    async with bench.engine.connect() as connection:
        names = dict(zip(cases, await connection.scalars(statement, parameters), strict=True))
    for kind in BudgetPeriod:
        of_kind = [name for (each, _), name in names.items() if each is kind]
        assert len(of_kind) == len(set(of_kind)) > 300
    for (kind, first), name in names.items():
        is_month = kind is BudgetPeriod.MONTHLY and first.day == 1
        is_year = kind is BudgetPeriod.YEARLY and (first.month, first.day) == (1, 1)
        assert name == f"{first:%Y-%m}" if is_month else name == f"{first:%Y}" if is_year else name == f"{first}"


async def test_the_database_and_the_program_agree_on_the_hour_of_a_zone(bench: Bench) -> None:
    """One says which day a purchase is of and which mornings have come, the other what today is. They have their clock
    changes from different places (PostgreSQL's own, and the machine's or the package tzdata's), so only settled ones
    are compared: every third hour around each change from 2011 to 2025.
    """
    cases = [(zone, at) for zone in SETTLED for at in _around_changes(ZoneInfo(zone))]
    assert len({zone for zone, at in cases if at.hour}) == len(SETTLED) - len(UNCHANGED)
    given_ = table_of(n=Integer(), zone=Text(), at=DateTime(timezone=True))
    local = func.timezone(given_.c.zone, given_.c.at, type_=DateTime())
    statement = select(local).select_from(given_).order_by(given_.c.n)
    parameters = {"n": [*range(len(cases))], "zone": [zone for zone, _ in cases], "at": [at for _, at in cases]}
    async with bench.engine.connect() as connection:
        seen = await connection.scalars(statement, parameters)
    here = [at.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0) for zone, at in cases]
    assert [each for each in zip(cases, here, seen, strict=True) if each[1] != each[2]][:5] == []


def _around_changes(zone: ZoneInfo) -> list[datetime]:
    """Instants around each change of a zone's distance from UTC, and one in between."""
    first = datetime(2011, 1, 1, tzinfo=UTC)
    instants = []
    for before, after in pairwise(first + n * A_WHILE for n in range(15 * 365 // A_WHILE.days)):
        instants.append(before)
        if before.astimezone(zone).utcoffset() != after.astimezone(zone).utcoffset():
            instants += [before + n * timedelta(hours=3) for n in range(8 * A_WHILE.days)]
    return instants


@st.composite
def _savings(draw: st.DrawFn) -> tuple[tuple[int, ...], list[int]]:
    """Milestones, and what is saved at one time after the other, both in percent of the target."""
    milestones = draw(st.sets(st.integers(1, 100), min_size=1, max_size=6))
    return tuple(sorted(milestones)), draw(st.lists(st.integers(-5, 130), min_size=STEPS, max_size=STEPS))


@settings(max_examples=12, derandomize=True, database=None, suppress_health_check=[*HealthCheck])
@given(st.lists(_savings(), min_size=20, max_size=20))
async def test_a_jump_fires_at_most_once_and_passes_all_it_reached(
    bench: Bench, clock: SteppedClock, savings: list[tuple[tuple[int, ...], list[int]]]
) -> None:
    """Twenty goals at a time. Each step fires the highest milestone if it is new, and nothing else; what was reached
    once stays passed, whatever is taken out again.
    """
    [row] = await bench.rows("SELECT coalesce(max(id), 0) AS id FROM goals")
    goals = range(row.id + 1, row.id + 1 + len(savings))
    alerts = {
        n: (await bench.create(GoalMilestones(n, milestones))).id
        for n, (milestones, _) in zip(goals, savings, strict=True)
    }
    for step in range(STEPS):
        clock.advance(timedelta(minutes=1))
        await bench.put(
            *[
                goal(n, f"{saved[step]}", clock.now(), target="100")
                for n, (_, saved) in zip(goals, savings, strict=True)
            ]
        )
        recorded = await bench.rows("SELECT alert_id, key, fired, at FROM occurrences")
        for n, (milestones, saved) in zip(goals, savings, strict=True):
            mine = {row.key: row for row in recorded if row.alert_id == alerts[n]}
            reached, before = max(saved[: step + 1]), max([-1, *saved[:step]])
            assert set(mine) == {f"1:milestone:{each}" for each in milestones if each <= reached}
            new = [f"1:milestone:{each}" for each in milestones if before < each <= reached]
            assert [key for key, row in mine.items() if row.fired and row.at == clock.now()] == new[-1:]


_CANDIDATES = st.builds(
    Candidate,
    partner_id=st.just(1),
    pending_id=st.integers(1, 4),
    posted_id=st.integers(11, 14),
    linked_by_bank=st.booleans(),
    same_amount=st.booleans(),
    posted_keeps_its_id=st.just(False),
    apart=st.timedeltas(timedelta(-1), timedelta(days=8)),
)


@given(st.lists(_CANDIDATES, max_size=12))
def test_a_posted_form_is_left_to_a_nearer_one_only(candidates: list[Candidate]) -> None:
    """A pair that was not made lost one of its forms to a pair that fits as well or better: first by the bank's link,
    then by the amount, then by how near they are.
    """

    def fit(pair: Candidate) -> tuple[bool, bool, timedelta]:
        return not pair.linked_by_bank, not pair.same_amount, abs(pair.apart)

    chosen = chosen_pairs(candidates)
    for each in candidates:
        rivals = [pair for pair in chosen if pair.pending_id == each.pending_id or pair.posted_id == each.posted_id]
        assert min(map(fit, rivals)) <= fit(each)
