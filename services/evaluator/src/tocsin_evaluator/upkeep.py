"""The jobs `evaluate.audit` and `evaluate.retention`: what is checked, and how long things live."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_evaluator.model.words import KindName
from tocsin_evaluator.store import upkeep
from tocsin_evaluator.store.ledger import fold_before
from tocsin_evaluator.store.upkeep import Findings, Old
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
    profile_copies: timedelta = timedelta(days=7)
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
        Old.FIRINGS: keep.firings,
        Old.TRANSACTIONS: keep.transactions,
        Old.IDEMPOTENCY_KEYS: keep.idempotency_keys,
        Old.PROFILE_COPIES: keep.profile_copies,
        Old.SLICES: keep.sweeps,
        Old.SWEEPS: keep.sweeps,
        Old.BILL_DAYS: keep.bill_days,
        Old.LEDGER: keep.ledger_hours,
    }
    counts = {what.value: await _drain(engine, what, now - age) for what, age in ages.items()}
    counts["occurrences"] = sum(
        [await _drain(engine, Old.OCCURRENCES, now - age, kind) for kind, age in OCCURRENCES_LIVE.items()]
    )
    counts["occurrences"] += await _drain(engine, Old.MILESTONES, now - keep.firings)
    hour = (now - keep.ledger_minutes).replace(minute=0, second=0, microsecond=0)
    await in_transaction(engine, lambda connection: fold_before(connection, hour))
    return counts


async def _drain(engine: AsyncEngine, what: Old, before: datetime, kind: KindName | None = None) -> int:
    async def batch(connection: AsyncConnection) -> int:
        return await upkeep.delete_batch(connection, what, before, _AT_ONCE, kind)

    total = 0
    while deleted := await in_transaction(engine, batch):
        total += deleted
        if deleted < _AT_ONCE:
            break
    return total
