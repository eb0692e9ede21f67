"""Hot statements use their index on large tables: a plan that reads all alerts for one fact would be a cliff."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement, Executable

from tocsin_evaluator.evaluation.backtesting import backtest_parameters, backtest_statement
from tocsin_evaluator.evaluation.explained_rows import explain_statement
from tocsin_evaluator.evaluation.firing import firing_statement, locking_statement
from tocsin_evaluator.evaluation.run import Moment
from tocsin_evaluator.evaluation.scanning import scan_statement
from tocsin_evaluator.evaluation.scope import Scope
from tocsin_evaluator.evaluation.touched import Touch, Touched
from tocsin_evaluator.kinds import SIX, account_threshold, upcoming_bill
from tocsin_evaluator.kinds.past import History, Past
from tocsin_evaluator.model.alerts import (
    AccountThreshold,
    Condition,
    MerchantName,
    SpendingTarget,
    TransactionLimit,
    UpcomingBill,
)
from tocsin_evaluator.model.backtest import Window
from tocsin_evaluator.model.facts import NO_TRACE
from tocsin_evaluator.model.words import Direction, Frequency, MatchType, MoneyFlow, Repeat, Way
from tocsin_evaluator.store import bills, budgets, ledger, purchases, slices
from tocsin_evaluator.store.alerts import TO_EVALUATE
from tocsin_evaluator.store.hypothetical import of_wish
from tocsin_evaluator.store.people import enter
from tocsin_evaluator.store.tables import accounts, transactions
from tocsin_evaluator.store.tables import budgets as budgets_table
from tocsin_kit.clock import SteppedClock

from .support import MAX_AGE, Bench, profile, wish

USERS = 20_000


class Explain(Executable, ClauseElement):
    """EXPLAIN of a statement for the values that it gets."""

    inherit_cache = False

    def __init__(self, statement: Any) -> None:
        self.statement = statement


@compiles(Explain)
def _explain(element: Explain, compiler: SQLCompiler, **options: Any) -> str:
    return "EXPLAIN (COSTS OFF) " + compiler.process(element.statement, **options)


_FILL = (
    """INSERT INTO accounts (partner_id, id, user_id, name, balance, currency, as_of, version, received_at)
       SELECT 1, n, n, 'Checking', n, 'USD', :at, 1, :at FROM generate_series(1, :users) n""",
    """INSERT INTO budgets (partner_id, id, user_id, name, category, currency, amount, period, spent_source, spent,
                            spent_from, spent_until, as_of, version, received_at)
       SELECT 1, n, n, 'Food', 'food', 'USD', 400, 'monthly', 'derived', n % 500, DATE '2025-11-01', DATE '2025-12-01',
              :at, 1, :at FROM generate_series(1, :users) n""",
    """INSERT INTO bills (partner_id, id, user_id, name, currency, amount, due_date, recurrence, next_due_on, as_of,
                          version, received_at)
       SELECT 1, n, n, 'Rent', 'USD', 900, DATE '2025-11-01' + n % 28, 'monthly', DATE '2025-11-01' + n % 28, :at,
              1, :at FROM generate_series(1, :users) n""",
    """INSERT INTO transactions (partner_id, id, user_id, account_id, purchase_id, purchase_on, amount, currency,
                                 merchant, merchant_norm, description, category, posted_on, posted_at, backfill,
                                 status, is_estimate, as_of, version, received_at)
       SELECT 1, n, n % :users, n % :users, n, CAST(:at - n * INTERVAL '1 minute' AS date), -(n % 300), 'USD', 'Shop',
              'shop', '', 'food', CAST(:at - n * INTERVAL '1 minute' AS date), :at - n * INTERVAL '1 minute', false,
              'posted', false, :at, 1, :at FROM generate_series(1, :users * 4) n""",
    """INSERT INTO alerts (partner_id, user_id, kind, name, subject_id, amount, currency, direction, repeat, percents,
                           pattern, pattern_norm, match_type, frequency, condition_version, condition_changed_at,
                           channels, critical, cooldown, active, armed, seen_version, trigger_count, sweeps_before,
                           fact_version_before, created_at, updated_at, days_before, snoozed_until,
                           evaluate_after_edit)
       SELECT 1, n, kind, 'x', n, 500, 'USD', 'below', 'while_true', '{50,80}', 'shop', 'shop', 'exact', 'immediate',
              1, :at, '{email}', false, INTERVAL '6 hours', true, true, 0, 0, 0, 0, :at, :at, 3,
              CASE WHEN n % 10 = 0 THEN :at - n * INTERVAL '1 minute' END, CASE WHEN n % 5000 = 0 THEN 1 END
       FROM generate_series(1, :users) n, unnest(ARRAY['account_threshold', 'spending_target', 'merchant_name',
                                                       'transaction_limit', 'upcoming_bill']) AS kind""",
)


@pytest_asyncio.fixture
async def large(bench: Bench, clock: SteppedClock) -> AsyncIterator[AsyncConnection]:
    """A connection to a database with 100,000 alerts and nearly as many transactions."""
    async with bench.engine.connect() as connection:
        for statement in _FILL:
            parameters = {"users": USERS} | ({"at": clock.now()} if ":at" in statement else {})
            await connection.execute(text(re.sub(r":at\b", "CAST(:at AS timestamptz)", statement)), parameters)
        await connection.commit()
    async with bench.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        for table in ("accounts", "budgets", "bills", "transactions", "alerts"):
            await connection.execute(text(f"VACUUM ANALYZE {table}"))
    async with bench.engine.connect() as connection:
        yield connection


async def _plan(connection: AsyncConnection, statement: Any, parameters: dict[str, object]) -> str:
    return "\n".join((await connection.execute(Explain(statement), parameters)).scalars())


async def _plan_kept(connection: AsyncConnection, statement: Any, parameters: dict[str, object]) -> str:
    """As it is planned once for whatever comes, which is what intake does: EXPLAIN (GENERIC_PLAN) of a bound statement
    still sees its values."""
    made = statement.params(**parameters).compile(
        dialect=connection.dialect, compile_kwargs={"render_postcompile": True}
    )
    nothing = f"({', '.join(['NULL'] * len(made.positiontup))})" if made.positiontup else ""
    await connection.execute(text("SET LOCAL plan_cache_mode = force_generic_plan"))
    await connection.exec_driver_sql(f"PREPARE kept AS {made}")
    plan = "\n".join((await connection.exec_driver_sql(f"EXPLAIN (COSTS OFF) EXECUTE kept {nothing}")).scalars())
    await connection.exec_driver_sql("DEALLOCATE kept")
    return plan


async def _plan_of_text(connection: AsyncConnection, statement: Any, parameters: dict[str, object]) -> str:
    explain = text("EXPLAIN (COSTS OFF) " + str(statement))
    return "\n".join((await connection.execute(explain, parameters)).scalars())


def _assert_indexed(plan: str, *indexes: str) -> None:
    for index in indexes:
        assert index in plan, plan
    for table in ("alerts", "transactions", "accounts", "budgets", "bills", "occurrences"):
        assert f"Seq Scan on {table}" not in plan, plan


async def test_real_time_goes_from_its_facts_to_their_alerts(large: AsyncConnection, clock: SteppedClock) -> None:
    """By the facts' primary keys, then by subject, or by user for purchases."""
    touched = Touched(SIX)
    for n in range(1, 51):
        for table in (accounts, budgets_table, transactions):
            touched.add(table, (1, n), Touch(False, NO_TRACE))
    moment = Moment(clock.now(), Way.REALTIME, MAX_AGE)
    parameters = {**moment.parameters(), **touched.parameters()}
    kinds = tuple(touched.kinds())
    assert len(kinds) == 4
    await large.execute(text("SET LOCAL enable_seqscan = off"))
    plan = await _plan_kept(large, scan_statement(kinds, Scope.FACTS), parameters)
    _assert_indexed(plan, "accounts_pkey", "budgets_pkey", "transactions_pkey", "alerts_by_subject", "alerts_by_user")
    assert "transactions_by_user" not in plan, "that is all of a user's purchases for each that comes"
    for kind in kinds:
        fire = firing_statement(kind, Scope.PAIRS, own_traces=False)
        pairs = touched.pair_parameters(kind.fact, [(1, n, n) for n in range(1, 6)])
        plan = await _plan_kept(large, fire, {**parameters, **pairs})
        _assert_indexed(plan, "alerts_pkey", f"{kind.fact.name}_pkey")
        assert "LockRows" in plan
        assert "Conflict Resolution: NOTHING" in plan
        assert "Full Join" in plan, "what was claimed is hashed, however many"


async def test_a_slice_reads_its_own_range(large: AsyncConnection, clock: SteppedClock) -> None:
    """Both sides of the join; locking and firing go by primary key."""
    moment = Moment(clock.now(), Way.SWEEP, MAX_AGE)
    where = {"of_partner": 1, "user_from": 1000, "user_to": 1400}
    plan = await _plan(large, scan_statement((account_threshold.KIND,), Scope.RANGE), {**moment.parameters(), **where})
    _assert_indexed(plan, "alerts_by_user", "accounts_by_user")
    chosen: dict[str, object] = {"alert_partner_ids": [1] * 20, "alert_ids": list(range(1, 21))}
    _assert_indexed(await _plan(large, locking_statement(), chosen), "alerts_pkey")
    fire = firing_statement(account_threshold.KIND, Scope.CHOSEN, own_traces=True)
    plan = await _plan(large, fire, {**moment.parameters(), **chosen})
    _assert_indexed(plan, "alerts_pkey")
    assert "Full Join" in plan, "a nested loop took 30 s for 15,000 firings"


async def test_plans_are_kept_once_the_statistics_know_the_table(
    bench: Bench, large: AsyncConnection, clock: SteppedClock
) -> None:
    """A plan made for a young table would be a bad one for the large table it grows to."""
    setting = text("SELECT current_setting('plan_cache_mode')")
    await enter(large, [(1, 1)], [])
    assert await large.scalar(setting) == "force_generic_plan"
    await large.rollback()
    await large.execute(text("TRUNCATE transactions"))
    await large.execute(text("ANALYZE transactions"))
    await enter(large, [(1, 1)], [])
    assert await large.scalar(setting) == "force_custom_plan"


async def test_entering_locks_every_spender_known_or_not(bench: Bench, clock: SteppedClock) -> None:
    """Nobody of them has a profile; the lock is the transaction's."""
    locks = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
    async with bench.engine.begin() as connection:
        assert await enter(connection, [(1, 1), (1, 2), (1, 3)], [(1, 1), (1, 2)]) == {}
        assert await connection.scalar(locks) == 2
    await bench.put(profile("Asia/Kathmandu", clock.now()))
    async with bench.engine.begin() as connection:
        assert (await enter(connection, [(1, 1), (1, 2)], []))[1, 1].time_zone == "Asia/Kathmandu"
        assert await connection.scalar(locks) == 0


async def test_slices_are_cut_from_an_index(large: AsyncConnection) -> None:
    """Users in order, without a sort."""
    cut = text(str(slices.CUT).replace("INSERT INTO sweep_slices", "EXPLAIN (COSTS OFF) INSERT INTO sweep_slices"))
    parameters = {"run_id": "00000000-0000-7000-8000-000000000000", "kind": "account_threshold", "size": 100}
    plan = "\n".join((await large.execute(cut, {**parameters, "traceparent": None})).scalars())
    _assert_indexed(plan, "alerts_by_user")


async def test_a_purchases_other_form_is_found_by_its_account(large: AsyncConnection) -> None:
    """Also for a batch."""
    arrays = {"partner_ids": [1] * 50, "ids": list(range(1, 51)), "are_new": [True] * 50}
    bounds = {"window": purchases.WINDOW, "days": purchases.LONGEST_DAYS, "within": purchases.ESTIMATE_WITHIN}
    plan = await _plan_of_text(large, purchases.CANDIDATES, {**arrays, **bounds})
    _assert_indexed(plan)  # by account, or by user where these are as selective


async def test_what_a_transaction_writes_is_locked_by_user_and_by_key(large: AsyncConnection) -> None:
    """Budgets and bills, in key order: the lock is taken above the sort."""
    keys: dict[str, object] = {"partner_ids": [1] * 50, "ids": list(range(1, 51))}
    touched = {"partners": [1] * 50, "users": list(range(101, 151)), "categories": ["food"] * 49 + [None]}
    plan = await _plan_of_text(large, budgets.LOCK, {**keys, **touched})
    _assert_indexed(plan, "budgets_by_user", "budgets_pkey")
    _assert_locked_in_order(plan)
    users = {"user_partners": [1] * 50, "users": list(range(101, 151))}
    plan = await _plan_of_text(large, bills.LOCK, {**keys, **users})
    _assert_indexed(plan, "bills_by_user", "bills_pkey")
    _assert_locked_in_order(plan)


def _assert_locked_in_order(plan: str) -> None:
    assert plan.startswith("LockRows"), plan
    assert re.search(r"Sort Key: \S*partner_id, \S*id\n", plan), plan


async def test_who_woke_is_found_by_the_snooze(large: AsyncConnection, clock: SteppedClock) -> None:
    """And their bills by key or by user."""
    parameters = {
        **Moment(clock.now(), Way.BILLS, MAX_AGE).parameters(),
        "woken_since": clock.now() - timedelta(hours=1),
    }
    plan = await _plan(large, scan_statement((upcoming_bill.KIND,), Scope.WOKEN), parameters)
    _assert_indexed(plan, "alerts_by_snooze")


async def test_edits_left_to_evaluate_have_an_index_of_their_own(large: AsyncConnection, clock: SteppedClock) -> None:
    """It is asked for every second."""
    plan = await _plan_of_text(large, TO_EVALUATE, {"before": clock.now(), "n": 100})
    _assert_indexed(plan, "alerts_to_evaluate")


_PURCHASES_OF_ONE = """
INSERT INTO transactions (partner_id, id, user_id, account_id, purchase_id, purchase_on, amount, currency, merchant,
                          merchant_norm, description, category, posted_on, posted_at, backfill, status, is_estimate,
                          as_of, version, received_at)
SELECT 1, n, 1, n % 1500, n, DATE '2025-11-01', -5, 'USD', 'Shop', 'shop', '', '', DATE '2025-11-01',
       CAST(:at AS timestamptz) - n * interval '15 minutes', true, 'posted', false, :at, 1, :at
  FROM generate_series(1, 50000) n
"""


async def test_forms_are_looked_for_by_account_in_a_table_nobody_has_analysed(
    bench: Bench, clock: SteppedClock
) -> None:
    """By user it read 141 million rows while 181,335 purchases of one user's 1,523 cards were brought in."""
    arrays = {"partner_ids": [1], "ids": [1], "are_new": [True]}
    bounds = {"window": purchases.WINDOW, "days": purchases.LONGEST_DAYS, "within": purchases.ESTIMATE_WITHIN}
    async with bench.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE transactions SET (autovacuum_enabled = false)"))
        await connection.execute(text(_PURCHASES_OF_ONE), {"at": clock.now()})
        plan = await _plan_of_text(connection, purchases.CANDIDATES, {**arrays, **bounds})
    assert "transactions_by_account" in plan, plan
    assert "transactions_by_user" not in plan


async def test_a_backtest_reads_no_more_than_the_past_it_is_about(large: AsyncConnection, clock: SteppedClock) -> None:
    """An account's balances by account, a user's purchases and a budget's sums by user; no table whole."""
    await large.execute(text(_PURCHASES_OF_ONE.replace("SELECT 1, n, 1", "SELECT 2, n, 1")), {"at": clock.now()})
    await large.execute(text("ANALYZE transactions"))
    window = Window(clock.now() - timedelta(days=90), clock.now())
    budget: dict[str, object] = {"period": "monthly", "starts_on": None, "spent_source": "derived"}
    limit = TransactionLimit(Decimal(500), "USD", None, MoneyFlow.ANY)
    low = AccountThreshold(1, Decimal(500), "USD", Direction.BELOW, Repeat.WHILE_TRUE)
    tried: list[tuple[Condition, tuple[str, ...]]] = [
        (low, ("transactions_by_account",)),
        (limit, ("transactions_by_user",)),
        (MerchantName("shop", MatchType.CONTAINS, Frequency.IMMEDIATE), ("transactions_by_user",)),
        (SpendingTarget(1, (50, 80)), ("transactions_by_user",)),
        (UpcomingBill(1, 3), ()),
    ]
    for condition, indexes in tried:
        wanted = wish(condition)
        kind = SIX.by_name[wanted.kind]
        history = kind.history(budget)
        assert isinstance(history, History)
        parameters = backtest_parameters(of_wish(2, 1, wanted), history, Past(budget, ZoneInfo("UTC"), window))
        plan = await _plan(large, backtest_statement(kind, history), parameters)
        _assert_indexed(plan, *indexes)
        if "transactions_by_account" in indexes:
            assert "transactions_by_user" not in plan


async def test_an_explanation_reads_an_alert_its_fact_and_ten_purchases(
    large: AsyncConnection, clock: SteppedClock
) -> None:
    """By their keys; neither the newest purchases are sorted out of all, nor the occurrences read whole."""
    await large.execute(text(_OCCURRENCES), {"at": clock.now()})
    await large.execute(text("ANALYZE occurrences"))
    await large.execute(text(_PURCHASES_OF_ONE.replace("SELECT 1, n, 1", "SELECT 2, n, 1")), {"at": clock.now()})
    await large.execute(text("ANALYZE transactions"))
    moment = Moment(clock.now(), Way.USER, MAX_AGE)
    parameters = {**moment.parameters(), "of_partner": 2, "of_user": 1, "of_alert": 7}
    for kind in SIX.kinds:
        plan = await _plan(large, explain_statement(kind), parameters)
        _assert_indexed(plan, "alerts_pkey", *(["transactions_by_user"] if kind.is_event else []))
        assert "Seq Scan on goals" not in plan, plan


async def test_the_ledger_is_read_backwards_from_its_key(bench: Bench, clock: SteppedClock) -> None:
    """A page of it, without sorting the rest."""
    async with bench.engine.begin() as connection:
        await connection.execute(text(_LEDGER), {"at": clock.now()})
        await connection.execute(text("ANALYZE evaluation_ledger"))
        asked = ledger.Asked(clock.now() - timedelta(days=14), clock.now(), None, None)
        place = (clock.now() - timedelta(days=1), "goal", "sweep")
        plan = await _plan(connection, ledger.page_statement(asked, place, 51), {})
    assert "evaluation_ledger_pkey" in plan, plan
    assert "Backward" in plan, plan
    assert "Seq Scan" not in plan, plan


_OCCURRENCES = """
INSERT INTO occurrences (partner_id, alert_id, key, fired, at)
SELECT 2, n % 1000, '1:purchase:' || n, false, :at FROM generate_series(1, 50000) n
"""

_LEDGER = """
INSERT INTO evaluation_ledger (minute, kind, way, replica, evaluated, "true", fired, backfill, snoozed, currency, stale,
                               cooldown, not_rearmed, already_sent, passed)
SELECT date_trunc('minute', CAST(:at AS timestamptz)) - n * interval '1 minute', kind, 'sweep', 'r', 0, 0, 0, 0, 0, 0,
       0, 0, 0, 0, 0
  FROM generate_series(1, 10000) n, unnest(ARRAY['account_threshold', 'goal', 'spending_target']) AS kind
"""
