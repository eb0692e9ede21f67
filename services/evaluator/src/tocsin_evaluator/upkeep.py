"""The jobs `evaluate.audit` and `evaluate.retention`: what is checked, and how long things live."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import TextClause
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_evaluator.model.words import KindName
from tocsin_evaluator.store import upkeep
from tocsin_evaluator.store.ledger import fold_before
from tocsin_evaluator.store.upkeep import Findings
from tocsin_kit.postgres.engine import in_transaction

#: How far back an audit looks: schedules fire it every 5 minutes, and an outage may have stopped them.
AUDITED = timedelta(hours=24)
_AT_ONCE = 1_000


@dataclass(frozen=True)
class Keep:
    """How long things live (data model page)."""

    firings: timedelta
    transactions: timedelta
    ledger_minutes: timedelta
    ledger_hours: timedelta = timedelta(days=365)
    idempotency_keys: timedelta = timedelta(hours=24)
    sweeps: timedelta = timedelta(days=7)
    bill_days: timedelta = timedelta(days=366)


#: An occurrence outlives what it guards: a purchase 400 days, a yearly budget period and the one after it, a bill's due
#: day and a year, a threshold's instant its firing. A goal's milestones stay.
OCCURRENCES_LIVE = {
    KindName.ACCOUNT_THRESHOLD: timedelta(days=90),
    KindName.MERCHANT_NAME: timedelta(days=400),
    KindName.TRANSACTION_LIMIT: timedelta(days=400),
    KindName.SPENDING_TARGET: timedelta(days=2 * 366),
    KindName.UPCOMING_BILL: timedelta(days=366 + 22),
}


async def audit(engine: AsyncEngine, now: datetime) -> Findings:
    """Whether the ledger adds up and every fired occurrence has its firing."""
    async with engine.connect() as connection:
        return await upkeep.audit(connection, now - AUDITED)


async def retention(engine: AsyncEngine, now: datetime, keep: Keep) -> dict[str, int]:
    """Throw away what has lived long enough, in small batches; answers how much of what."""
    ages = {
        "firings": (upkeep.OLD_FIRINGS, keep.firings),
        "transactions": (upkeep.OLD_TRANSACTIONS, keep.transactions),
        "idempotency_keys": (upkeep.OLD_IDEMPOTENCY_KEYS, keep.idempotency_keys),
        "sweep_slices": (upkeep.OLD_SLICES, keep.sweeps),
        "sweeps": (upkeep.OLD_SWEEPS, keep.sweeps),
        "bill_days": (upkeep.OLD_BILL_DAYS, keep.bill_days),
        "ledger": (upkeep.OLD_LEDGER, keep.ledger_hours),
    }
    counts = {name: await _drain(engine, statement, now - age) for name, (statement, age) in ages.items()}
    counts["occurrences"] = 0
    for kind, age in OCCURRENCES_LIVE.items():
        counts["occurrences"] += await _drain(engine, upkeep.OLD_OCCURRENCES, now - age, kind=kind.value)
    hour = (now - keep.ledger_minutes).replace(minute=0, second=0, microsecond=0)
    await in_transaction(engine, lambda connection: fold_before(connection, hour))
    return counts


async def _drain(engine: AsyncEngine, statement: TextClause, before: datetime, **more: str) -> int:
    async def batch(connection: AsyncConnection) -> int:
        return (await connection.execute(statement, {"before": before, "n": _AT_ONCE, **more})).rowcount

    total = 0
    while deleted := await in_transaction(engine, batch):
        total += deleted
        if deleted < _AT_ONCE:
            break
    return total
