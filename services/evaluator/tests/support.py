"""One replica's insides, and facts and wishes with as little said as a test needs."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tocsin_evaluator.alerts.desk import Desk, Once, Owner
from tocsin_evaluator.alerts.naming import default_name
from tocsin_evaluator.doors.translate import profile_event
from tocsin_evaluator.evaluation.backtesting import Backtest
from tocsin_evaluator.evaluation.bills import BillsRun
from tocsin_evaluator.evaluation.explaining import Explaining
from tocsin_evaluator.evaluation.ledger import Ledger
from tocsin_evaluator.evaluation.person import PersonEvaluation
from tocsin_evaluator.evaluation.realtime import Realtime
from tocsin_evaluator.evaluation.sweep import Sweep
from tocsin_evaluator.facts.coalescer import Answer, Coalescer
from tocsin_evaluator.facts.intake import Intake
from tocsin_evaluator.kinds import SIX
from tocsin_evaluator.kinds.registry import Registry
from tocsin_evaluator.model.alerts import AccountThreshold, Alert, Condition, Outcome, TransactionLimit, Wish
from tocsin_evaluator.model.backtest import Backtested, Window
from tocsin_evaluator.model.explanation import Explanation
from tocsin_evaluator.model.facts import (
    Account,
    Arrival,
    Bill,
    Budget,
    Fact,
    Goal,
    Profile,
    Trace,
    Transaction,
)
from tocsin_evaluator.model.words import (
    BudgetPeriod,
    Channel,
    Recurrence,
    SpentSource,
    TransactionStatus,
)
from tocsin_evaluator.settings import EvaluatorSettings
from tocsin_evaluator.store import tables
from tocsin_kit.activity import Activity
from tocsin_kit.clock import Clock
from tocsin_kit.ids import SystemIds
from tocsin_kit.loops import Bell
from tocsin_kit.postgres.engine import make_engine
from tocsin_kit.postgres.idempotency import RequestKey
from tocsin_kit.postgres.outbox import Outbox
from tocsin_kit.sealing import Seals
from tocsin_kit.settings import Environment
from tocsin_kit.telemetry.metrics import Metrics

PARTNER, USER = 1, 1
SEALS = Seals([b"k" * 32], Random(1))
MAX_AGE = timedelta(days=5)
NO_TRACE = Trace()


async def unheard(done: int, total: int) -> None:
    """Progress nobody listens to."""


@asynccontextmanager
async def held(engine: AsyncEngine, table: str, id_: int) -> AsyncIterator[None]:
    """A row that another transaction holds inside the block."""
    async with engine.begin() as connection:
        await connection.execute(text(f"SELECT 1 FROM {table} WHERE id = :id FOR UPDATE"), {"id": id_})  # noqa: S608
        yield


async def until_waiting(engine: AsyncEngine, n: int = 1) -> None:
    """Return when `n` transactions wait for a lock."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(20), engine.connect() as connection:
        while (await connection.scalar(waiting) or 0) < n:
            await connection.rollback()


async def is_free(engine: AsyncEngine, table: str, id_: int) -> bool:
    """Whether nobody holds a row."""
    statement = text(f"SELECT 1 FROM {table} WHERE id = :id FOR UPDATE SKIP LOCKED")  # noqa: S608
    async with engine.connect() as connection:
        return (await connection.execute(statement, {"id": id_})).first() is not None


async def deadlocks(benches: Sequence["Bench"], reader: "Bench") -> int:
    """How many there were in the database of `benches`: its connections tell when they are closed."""
    for bench in benches:
        await bench.engine.dispose()
    others = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    async with asyncio.timeout(20):
        while await reader.rows(others):
            pass
    [row] = await reader.rows("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(row.deadlocks)


@dataclass(frozen=True)
class Bench:
    """One replica's insides."""

    engine: AsyncEngine
    clock: Clock
    ledger: Ledger
    coalescer: Coalescer
    sweep_: Sweep
    bills_: BillsRun
    person: PersonEvaluation
    desk: Desk
    explaining: Explaining
    backtest_: Backtest

    @classmethod
    def on(cls, url: str, clock: Clock, replica: str, registry: CollectorRegistry, kinds: Registry = SIX) -> "Bench":
        """A replica over the database at `url`."""
        settings = EvaluatorSettings(env=Environment.DEV, database_url=SecretStr(url), internal_key=SecretStr("k" * 32))
        engine, activity = make_engine(settings, "test"), Activity()
        outbox = Outbox.on(tables.outbox, activity, "evaluator")
        metrics = Metrics(registry)
        ledger = Ledger(engine, clock, replica, metrics, Bell(activity))
        intake = Intake(outbox, profile_event, MAX_AGE, kinds, SEALS)
        realtime = Realtime(engine, clock, ledger, outbox, intake, metrics)
        person = PersonEvaluation(engine, clock, ledger, outbox, MAX_AGE, kinds)
        return cls(
            engine=engine,
            clock=clock,
            ledger=ledger,
            coalescer=Coalescer(realtime.take_in, activity),
            sweep_=Sweep(engine, clock, ledger, outbox, Bell(activity), replica, MAX_AGE, kinds),
            bills_=BillsRun(engine, clock, ledger, outbox, MAX_AGE),
            person=person,
            desk=Desk(engine, clock, person),
            explaining=Explaining(engine, clock, kinds, MAX_AGE),
            backtest_=Backtest(engine, kinds),
        )

    async def put(self, *facts: Fact, backfill: bool = False) -> Answer:
        """Bring facts in one call."""
        return await self.coalescer.bring([Arrival(fact, backfill, NO_TRACE, self.clock.now()) for fact in facts])

    async def create(self, condition: Condition, *, user: int = USER, partner: int = PARTNER, **more: Any) -> Alert:
        """Create an alert with the defaults of the contract."""
        return await self.desk.create(Owner(partner, user), wish(condition, **more), self.once(), NO_TRACE)

    async def evaluate(self, alert: Alert) -> Outcome:
        """EvaluateAlert."""
        outcome = await self.desk.evaluate(Owner(alert.partner_id, alert.user_id), alert.id, NO_TRACE)
        assert outcome is not None
        return outcome

    async def explain(self, alert: Alert) -> Explanation:
        """ExplainAlert."""
        explained = await self.explaining.explain(alert.partner_id, alert.user_id, alert.id)
        assert explained is not None
        return explained

    async def backtest(self, condition: Condition, since: datetime, *, user: int = USER, **more: Any) -> Backtested:
        """BacktestAlert of an alert that is not saved, up to now."""
        window = Window(since, self.clock.now())
        return await self.backtest_.of_wish(PARTNER, user, wish(condition, **more), window)

    async def sweep(self) -> int:
        """A whole sweep; how many it fired."""
        return int((await self.sweep_.run(self.new_id(), NO_TRACE, unheard)).fired)

    async def bills(self) -> int:
        """A bills run; how many it fired."""
        return (await self.bills_.run(self.new_id(), NO_TRACE, unheard))[1].fired

    def once(self) -> Once:
        """A request nobody sends again."""
        return Once(RequestKey(PARTNER, "test", "CreateAlert", str(self.new_id())), b"")

    def new_id(self) -> UUID:
        """A job's id."""
        return SystemIds(self.clock).uuid7()

    async def rows(self, sql: str, **parameters: object) -> Sequence[Any]:
        """What a query answers."""
        async with self.engine.connect() as connection:
            return (await connection.execute(text(sql), parameters)).all()

    async def keys(self, alert: Alert | None = None) -> list[str]:
        """The occurrence keys of all firings, or of an alert's, in the order they were made."""
        found = await self.rows("SELECT alert_id, occurrence_key FROM firings ORDER BY fired_at, occurrence_key")
        return [key for alert_id, key in found if alert is None or alert_id == alert.id]

    async def contexts(self) -> list[dict[str, object]]:
        """The contexts of all firings."""
        found = await self.rows("SELECT context FROM firings ORDER BY fired_at, occurrence_key")
        return [context for (context,) in found]


def wish(condition: Condition, **more: Any) -> Wish:
    """A wish with the contract's defaults."""
    values: dict[str, Any] = {
        "name": default_name(condition),
        "condition": condition,
        "active": True,
        "channels": frozenset({Channel.EMAIL}),
        "critical": isinstance(condition, TransactionLimit),
        "cooldown": timedelta(hours=6) if isinstance(condition, AccountThreshold) else None,
        "snoozed_until": None,
    }
    return Wish(**{**values, **more})


def profile(zone: str, as_of: datetime, *, user: int = USER, partner: int = PARTNER) -> Profile:
    """A person in a zone."""
    return Profile(partner, user, "a@example.com", "", True, False, "en-US", zone, "USD", as_of)


def account(id_: int, balance: str, as_of: datetime, **more: Any) -> Account:
    """A checking account of the user."""
    values: dict[str, Any] = {
        "partner_id": PARTNER,
        "id": id_,
        "user_id": USER,
        "name": "Checking",
        "balance": Decimal(balance),
        "currency": "USD",
        "as_of": as_of,
        "closed": False,
    }
    return Account(**{**values, **more})


def transaction(id_: int, amount: str, when: datetime | date, as_of: datetime, **more: Any) -> Transaction:
    """A purchase at the corner shop."""
    has_time = isinstance(when, datetime)
    values: dict[str, Any] = {
        "partner_id": PARTNER,
        "id": id_,
        "user_id": USER,
        "account_id": 1,
        "amount": Decimal(amount),
        "currency": "USD",
        "merchant": "Corner Shop",
        "description": "",
        "category": "groceries",
        "posted_at": when if has_time else None,
        "posted_on": None if has_time else when,
        "status": TransactionStatus.POSTED,
        "pending_transaction_id": None,
        "is_estimate": False,
        "balance_after": None,
        "as_of": as_of,
    }
    return Transaction(**{**values, **more})


def goal(id_: int, current: str, as_of: datetime, *, target: str = "1000", **more: Any) -> Goal:
    """Saving for a holiday."""
    values: dict[str, Any] = {"partner_id": PARTNER, "user_id": USER, "name": "Holiday", "currency": "USD"}
    amounts = {"current_amount": Decimal(current), "target_amount": Decimal(target)}
    return Goal(**{**values, "id": id_, **amounts, "as_of": as_of, **more})


def budget(id_: int, as_of: datetime, **more: Any) -> Budget:
    """A monthly grocery budget of 400, derived from transactions."""
    values: dict[str, Any] = {
        "partner_id": PARTNER,
        "id": id_,
        "user_id": USER,
        "name": "Groceries",
        "category": "groceries",
        "currency": "USD",
        "amount": Decimal("400"),
        "period": BudgetPeriod.MONTHLY,
        "starts_on": None,
        "spent_source": SpentSource.DERIVED,
        "spent": Decimal(0),
        "as_of": as_of,
    }
    return Budget(**{**values, **more})


def bill(id_: int, due: date, as_of: datetime, **more: Any) -> Bill:
    """Rent, monthly."""
    values: dict[str, Any] = {
        "partner_id": PARTNER,
        "id": id_,
        "user_id": USER,
        "name": "Rent",
        "currency": "USD",
        "amount": Decimal("1200"),
        "due_date": due,
        "recurrence": Recurrence.MONTHLY,
        "paid_through": None,
        "as_of": as_of,
    }
    return Bill(**{**values, **more})
