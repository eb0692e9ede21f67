"""Facts in, firings out: each kind over a real database."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from prometheus_client import CollectorRegistry

from tocsin_devstack.fixtures import MakeDatabase
from tocsin_evaluator.model.alerts import (
    AccountThreshold,
    GoalMilestones,
    MerchantName,
    SpendingTarget,
    TransactionLimit,
    UpcomingBill,
)
from tocsin_evaluator.model.facts import Arrival, Trace
from tocsin_evaluator.model.words import (
    Direction,
    Frequency,
    MatchType,
    MoneyFlow,
    Reason,
    Repeat,
    TransactionStatus,
)
from tocsin_kit.clock import SteppedClock

from .support import Bench, account, bill, budget, goal, profile, transaction, unheard

BELOW_500 = AccountThreshold(1, Decimal("500"), "USD", Direction.BELOW, Repeat.WHILE_TRUE)
CROSSING_500 = replace(BELOW_500, repeat=Repeat.ON_CROSSING)
SHOP = MerchantName("corner  SHOP", MatchType.CONTAINS, Frequency.IMMEDIATE)
OVER_200 = TransactionLimit(Decimal("200"), "USD", None, MoneyFlow.DEBIT)


async def test_a_low_balance_fires_once_per_cooldown_in_real_time_and_by_sweep(
    bench: Bench, clock: SteppedClock
) -> None:
    """while_true fires each cooldown while it holds; equality is not below."""
    await bench.create(BELOW_500)
    await bench.put(account(1, "500", clock.now()))
    assert await bench.keys() == []
    clock.advance(timedelta(minutes=1))
    await bench.put(account(1, "499.99", clock.now()))
    assert await bench.keys() == ["1:at:2025-11-03T12:01:00.000000Z"]
    clock.advance(timedelta(hours=5, minutes=59))
    await bench.put(account(1, "400", clock.now()))
    assert len(await bench.keys()) == 1, "the cooldown is not over"
    clock.advance(timedelta(minutes=1))
    assert await bench.sweep() == 1
    assert (await bench.contexts())[1] == {
        "account_id": 1,
        "account": "Checking",
        "balance": "400.00",
        "threshold": "500.00",
        "currency": "USD",
        "direction": "below",
        "as_of": "2025-11-03T18:00:00.000000Z",
    }


async def test_a_crossing_fires_once_and_again_after_it_came_back(bench: Bench, clock: SteppedClock) -> None:
    """on_crossing is re-armed when the balance comes back."""
    await bench.create(CROSSING_500)
    for balance, firings in (("499", 1), ("450", 1), ("600", 1), ("499", 2), ("498", 2)):
        clock.advance(timedelta(hours=7))
        await bench.put(account(1, balance, clock.now()))
        await bench.sweep()
        assert len(await bench.keys()) == firings, f"at {balance}"


async def test_an_alert_that_is_true_when_created_fires_at_once(bench: Bench, clock: SteppedClock) -> None:
    """Creating an alert evaluates it after its commit."""
    await bench.put(account(1, "100", clock.now()))
    made = await bench.create(BELOW_500)
    assert made.trigger_count == 1
    assert made.last_triggered_at == clock.now()
    assert (await bench.evaluate(made)).reason is Reason.COOLDOWN


async def test_a_stale_closed_or_foreign_balance_is_quiet(bench: Bench, clock: SteppedClock) -> None:
    """48 hours old, closed, or in another currency."""
    made = await bench.create(BELOW_500)
    await bench.put(account(1, "100", clock.now() - timedelta(hours=49)))
    assert (await bench.evaluate(made)).reason is Reason.STALE
    await bench.put(account(1, "100", clock.now(), currency="EUR"))
    assert (await bench.evaluate(made)).reason is Reason.CURRENCY
    clock.advance(timedelta(seconds=1))
    await bench.put(account(1, "100", clock.now(), closed=True))
    assert (await bench.evaluate(made)).reason is None
    assert await bench.keys() == []


async def test_a_jump_over_several_milestones_fires_the_highest_once(bench: Bench, clock: SteppedClock) -> None:
    """From 20 to 80 fires once, for 75; 25 and 50 are passed; falling back and coming again fires nothing."""
    await bench.put(goal(1, "200", clock.now()))
    made = await bench.create(GoalMilestones(1, (25, 50, 75, 100)))
    for current in ("800", "400", "800"):
        clock.advance(timedelta(minutes=1))
        await bench.put(goal(1, current, clock.now()))
        await bench.sweep()
    assert await bench.keys(made) == ["1:milestone:75"]
    rows = await bench.rows("SELECT key, fired FROM occurrences ORDER BY key")
    assert [tuple(row) for row in rows] == [
        ("1:milestone:25", False),
        ("1:milestone:50", False),
        ("1:milestone:75", True),
    ]


async def test_milestones_reached_before_the_alert_are_passed_silently(bench: Bench, clock: SteppedClock) -> None:
    """A new goal alert does not congratulate on the past."""
    await bench.put(goal(1, "600", clock.now()))
    made = await bench.create(GoalMilestones(1, (25, 50, 75, 100)))
    assert (await bench.evaluate(made)).reason is Reason.ALREADY_SENT
    clock.advance(timedelta(minutes=1))
    await bench.put(goal(1, "1000", clock.now()))
    assert await bench.keys() == ["1:milestone:100"]


async def test_a_merchant_fires_at_each_purchase_and_once_for_pending_and_posted(
    bench: Bench, clock: SteppedClock
) -> None:
    """Two equal purchases are two; the posted form of a pending one is the same."""
    await bench.create(SHOP)
    now = clock.now()
    await bench.put(transaction(1, "-5", now, now, status=TransactionStatus.PENDING), transaction(2, "-5", now, now))
    assert await bench.keys() == ["1:purchase:1"], "a pending and a posted one of the same batch are one purchase"
    clock.advance(timedelta(days=1))
    await bench.put(transaction(3, "-5", clock.now(), clock.now()))
    assert await bench.keys() == ["1:purchase:1", "1:purchase:3"]


async def test_first_of_day_fires_once_per_local_day(bench: Bench, clock: SteppedClock) -> None:
    """The day is the user's: 04:00 UTC is the evening before in Chicago."""
    await bench.put(profile("America/Chicago", clock.now()))
    await bench.create(replace(SHOP, frequency=Frequency.FIRST_OF_DAY))
    clock.move_to(clock.now().replace(day=4, hour=20))
    four = clock.now().replace(hour=4)
    await bench.put(
        transaction(1, "-5", four, clock.now()),
        transaction(2, "-6", four.replace(hour=18), clock.now()),
        transaction(3, "-7", date(2025, 11, 4), clock.now()),
    )
    assert await bench.keys() == ["1:day:2025-11-03", "1:day:2025-11-04"]


@pytest.mark.parametrize("form", [{"id_": 2}, {"id_": 1}], ids=["by an id of its own", "by the same id"])
async def test_first_of_day_tells_a_purchase_on_its_own_day_only(
    bench: Bench, clock: SteppedClock, form: dict[str, int]
) -> None:
    """Pending on Monday, booked on Tuesday: told on Monday; Tuesday's own purchase is Tuesday's first."""
    await bench.create(replace(SHOP, frequency=Frequency.FIRST_OF_DAY))
    monday = clock.now()
    await bench.put(transaction(1, "-5", monday.date(), monday, status=TransactionStatus.PENDING))
    clock.advance(timedelta(days=1))
    tuesday = clock.now()
    await bench.put(transaction(amount="-5", when=tuesday.date(), as_of=tuesday, **form))
    assert await bench.keys() == [f"1:day:{monday:%F}"]
    await bench.put(transaction(3, "-6", tuesday.date(), tuesday))
    assert await bench.keys() == [f"1:day:{monday:%F}", f"1:day:{tuesday:%F}"]


async def test_a_limit_looks_at_amount_direction_and_currency(bench: Bench, clock: SteppedClock) -> None:
    """At least the limit, the right way, in its currency, not reversed, not history."""
    await bench.create(OVER_200)
    now = clock.now()
    await bench.put(
        transaction(1, "-199.99", now, now),  # below
        transaction(2, "-200", now, now, merchant="A"),  # equal fires
        transaction(3, "200", now, now, merchant="B"),  # the other way
        transaction(4, "-900", now, now, merchant="C", currency="EUR"),  # another currency
        transaction(5, "-900", now, now, merchant="D", status=TransactionStatus.REVERSED),
        transaction(6, "-900", now - timedelta(days=7), now, merchant="E"),  # too old
    )
    await bench.put(transaction(7, "-900", now, now, merchant="F"), backfill=True)
    assert await bench.keys() == ["1:purchase:2"]
    assert (await bench.contexts())[0]["description"] == "A"


async def test_a_derived_budget_fires_its_highest_new_share_once_a_period(bench: Bench, clock: SteppedClock) -> None:
    """Refunds subtract, only its own currency counts, a new month starts clean."""
    await bench.put(budget(1, clock.now()))
    await bench.create(SpendingTarget(1, (50, 80, 100)))
    await bench.put(transaction(1, "-150", clock.now(), clock.now(), merchant="A"))
    assert await bench.keys() == []
    await bench.put(
        transaction(2, "-300", clock.now(), clock.now(), merchant="B"),
        transaction(3, "100", clock.now(), clock.now(), merchant="C"),
        transaction(4, "-999", clock.now(), clock.now(), merchant="D", currency="EUR"),
    )
    assert await bench.keys() == ["1:2025-11:80"]
    clock.move_to(clock.now().replace(month=12))
    assert await bench.sweep() == 0
    await bench.put(transaction(5, "-200", clock.now(), clock.now(), merchant="E"))
    assert await bench.keys() == ["1:2025-11:80", "1:2025-12:50"]
    assert (await bench.contexts())[1]["spent"] == "200.00"


async def test_a_bill_fires_at_six_local_time_once_per_due_date(bench: Bench, clock: SteppedClock) -> None:
    """Three calendar days before; the next month again; a paid one does not."""
    await bench.put(profile("America/Chicago", clock.now()), bill(1, date(2025, 10, 10), clock.now()))
    await bench.create(UpcomingBill(1, 3))
    assert await bench.keys() == []
    clock.move_to(clock.now().replace(day=7, hour=11, minute=59))
    assert await bench.bills() == 0, "it is 05:59 in Chicago"
    clock.advance(timedelta(minutes=1))
    assert await bench.bills() == 1
    clock.advance(timedelta(days=1))
    assert await bench.bills() == 0
    assert await bench.keys() == ["1:due:2025-11-10"]
    clock.move_to(clock.now().replace(month=12, day=7, hour=13))
    assert await bench.bills() == 1
    assert (await bench.contexts())[1]["due_on"] == "2025-12-10"
    await bench.put(bill(1, date(2025, 10, 10), clock.now(), paid_through=date(2026, 1, 10)))
    clock.move_to(clock.now().replace(year=2026, month=1, day=8))
    assert await bench.bills() == 0


async def test_the_ledger_adds_up(bench: Bench, clock: SteppedClock) -> None:
    """evaluated = false + fired + reasons, held by constraints; here the numbers themselves."""
    await bench.create(BELOW_500)
    await bench.put(account(1, "100", clock.now()))
    clock.advance(timedelta(minutes=1))
    await bench.put(account(1, "90", clock.now()))
    await bench.sweep()
    await bench.ledger.flush()
    rows = await bench.rows(
        'SELECT way, sum(evaluated), sum("true"), sum(fired), sum(cooldown) FROM evaluation_ledger'
        " WHERE kind = 'account_threshold' GROUP BY way ORDER BY way"
    )
    assert [tuple(int(n) if n != row[0] else n for n in row) for row in rows] == [
        ("realtime", 2, 2, 1, 1),
        ("sweep", 1, 1, 0, 1),
    ]


async def test_a_sweeps_firings_are_traces_of_their_own_and_name_the_run(bench: Bench, clock: SteppedClock) -> None:
    """A fact's firing goes on with the fact's trace."""
    run = Trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    await bench.create(BELOW_500)
    await bench.put(account(1, "100", clock.now()), backfill=True)
    await bench.sweep_.run(bench.new_id(), run, unheard)
    [row] = await bench.rows("SELECT firing_id, traceparent, tracestate FROM outbox")
    assert row.traceparent.startswith(f"00-{row.firing_id.hex}-")
    assert row.traceparent.endswith("-01")
    assert row.tracestate == "tocsin=0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"
    await bench.create(SHOP)
    await bench.coalescer.bring([Arrival(transaction(1, "-5", clock.now(), clock.now()), False, run, clock.now())])
    [row] = await bench.rows("SELECT traceparent FROM outbox WHERE class = 'realtime'")
    assert row.traceparent == run.traceparent


async def test_the_bills_of_a_person_who_moves_go_on_with_the_movers_trace(bench: Bench, clock: SteppedClock) -> None:
    """It is the new profile that fires them."""
    move = Trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1")
    clock.move_to(clock.now().replace(hour=2))
    now = clock.now()
    await bench.put(profile("America/Chicago", now), bill(1, now.date(), now))
    await bench.create(UpcomingBill(1, 0))
    clock.advance(timedelta(minutes=1))
    arrival = Arrival(profile("Asia/Kathmandu", clock.now()), False, move, clock.now())
    await bench.coalescer.bring([arrival])
    [row] = await bench.rows("SELECT traceparent, tracestate FROM outbox WHERE class = 'realtime'")
    assert (row.traceparent, row.tracestate) == (move.traceparent, move.tracestate)


@pytest.mark.parametrize(("flags", "kept"), [("01", True), ("00", False)], ids=["sampled", "not sampled"])
async def test_how_long_a_firing_took_points_to_the_trace_of_the_first_arrival(
    make_database: MakeDatabase, clock: SteppedClock, flags: str, kept: bool
) -> None:
    """As an exemplar, where the trace is kept."""
    registry, now = CollectorRegistry(), clock.now()
    bench = Bench.on(await make_database("evaluator"), clock, "replica", registry)
    try:
        await bench.create(SHOP)
        first, second = "0af7651916cd43dd8448eb211c80319c", "1af7651916cd43dd8448eb211c80319c"
        arrivals = [
            Arrival(
                transaction(n, f"-{n}", now, now), False, Trace(f"00-{trace_id}-b7ad6b7169203331-{flags}"), now - before
            )
            for n, trace_id, before in ((1, second, timedelta(0)), (2, first, timedelta(seconds=2)))
        ]
        await bench.coalescer.bring(arrivals)
    finally:
        await bench.engine.dispose()
    samples = [sample for metric in registry.collect() for sample in metric.samples]
    took = [each for each in samples if each.name == "tocsin_fact_to_firing_seconds_bucket"]
    assert [each.value for each in took if each.labels["le"] in ("1.0", "2.0")] == [0, 2]
    assert [each.exemplar.labels for each in took if each.exemplar] == ([{"trace_id": first}] if kept else [])
