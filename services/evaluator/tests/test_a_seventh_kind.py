"""A seventh kind is a few lines and a word: told in real time, by a sweep, in a backtest and in an explanation."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, cast

import pytest_asyncio
from prometheus_client import CollectorRegistry
from sqlalchemy import ColumnElement, literal_column, text

from tocsin_devstack.fixtures import MakeDatabase
from tocsin_evaluator.kinds import SIX
from tocsin_evaluator.kinds.kind import Clause, Kind, Rows, day_text, money_text
from tocsin_evaluator.kinds.past import BALANCES, History
from tocsin_evaluator.kinds.registry import Registry
from tocsin_evaluator.model.backtest import Window
from tocsin_evaluator.model.explanation import Quiet
from tocsin_evaluator.model.words import KindName, Reason
from tocsin_evaluator.store.tables import accounts
from tocsin_kit.clock import SteppedClock

from .support import NO_TRACE, PARTNER, USER, Bench, account, transaction


class _Word(StrEnum):
    """The line that KindName would have more."""

    OVERDRAWN = "overdrawn"


# The seventh kind: an account's balance is below zero, told once a local day.
def clauses(rows: Rows) -> Sequence[Clause]:
    """Below zero."""
    return (Clause("below_zero", rows.fact.c.balance < 0, {"balance": money_text(rows.fact.c.balance)}),)


def key(rows: Rows) -> ColumnElement[str]:
    """`day:` and the person's day."""
    return literal_column("'day:'").concat(day_text(rows.today))


def context(rows: Rows) -> dict[str, ColumnElement[Any]]:
    """The account as it stood."""
    return {"account_id": rows.fact.c.id, "balance": money_text(rows.fact.c.balance)}


def history(_: Mapping[str, Any]) -> History:
    """The account's balances."""
    return BALANCES


OVERDRAWN = Kind(cast(KindName, _Word.OVERDRAWN), accounts, clauses, context, history, key=key, is_swept=True)
SEVEN = Registry((*SIX.kinds, OVERDRAWN))

_ALERT = text("""
INSERT INTO alerts (partner_id, user_id, kind, name, subject_id, condition_version, condition_changed_at, channels,
                    critical, active, armed, seen_version, trigger_count, sweeps_before, fact_version_before,
                    created_at, updated_at)
VALUES (1, 1, 'overdrawn', 'Overdrawn', 1, 1, :at, '{}', false, true, true, 0, 0, 0, 0, :at, :at) RETURNING id
""")


@pytest_asyncio.fixture
async def seven(make_database: MakeDatabase, clock: SteppedClock) -> AsyncIterator[Bench]:
    """A replica that evaluates seven kinds."""
    bench = Bench.on(await make_database("evaluator"), clock, "replica-0", CollectorRegistry(), SEVEN)
    yield bench
    await bench.engine.dispose()


async def _alert(bench: Bench) -> int:
    async with bench.engine.begin() as connection:
        return int(await connection.scalar(_ALERT, {"at": bench.clock.now()}) or 0)


async def _fired(bench: Bench) -> list[str]:
    return [
        key for (key,) in await bench.rows("SELECT occurrence_key FROM firings WHERE kind = 'overdrawn' ORDER BY 1")
    ]


async def test_it_fires_as_a_balance_comes_in_and_once_a_day(seven: Bench, clock: SteppedClock) -> None:
    """And is counted in the ledger under its own word, beside the others."""
    alert_id = await _alert(seven)
    await seven.put(account(1, "0", clock.now()))
    await seven.put(account(1, "-0.01", clock.now() + timedelta(seconds=1)))
    await seven.put(account(1, "-5", clock.now() + timedelta(seconds=2)))
    assert await _fired(seven) == ["1:day:2025-11-03"]
    assert await seven.contexts() == [{"account_id": 1, "balance": "-0.01"}]
    [row] = await seven.rows("SELECT trigger_count FROM alerts WHERE id = :id", id=alert_id)
    assert row.trigger_count == 1
    await seven.ledger.flush()
    counted = await seven.rows("SELECT kind, evaluated, fired, already_sent FROM evaluation_ledger")
    assert ("overdrawn", 3, 1, 1) in [tuple(row) for row in counted]


async def test_a_sweep_finds_it_the_day_after(seven: Bench, clock: SteppedClock) -> None:
    """What no change announces: a new day."""
    await seven.put(account(1, "-5", clock.now()))
    await _alert(seven)
    assert await seven.sweep() == 1
    assert await seven.sweep() == 0
    clock.advance(timedelta(days=1))
    assert await seven.sweep() == 1
    assert await _fired(seven) == ["1:day:2025-11-03", "1:day:2025-11-04"]
    tallies = await seven.person.of_user(PARTNER, USER, NO_TRACE)
    assert tallies[OVERDRAWN.name].reasons == {Reason.ALREADY_SENT: 1}


async def test_a_backtest_dates_it(seven: Bench, clock: SteppedClock) -> None:
    """Once a day of those on which a booking left the account below zero."""
    alert_id = await _alert(seven)
    first = datetime(2025, 10, 1, 9, tzinfo=UTC)
    steps = ((0, "-1"), (1, "-2"), (24, "3"), (48, "-4"))
    booked = [
        transaction(n, "-1", first + timedelta(hours=hours), clock.now(), balance_after=Decimal(after))
        for n, (hours, after) in enumerate(steps, start=1)
    ]
    await seven.put(account(1, "0", first - timedelta(days=1)), *booked, backfill=True)
    tested = await seven.backtest_.of_alert(PARTNER, USER, alert_id, Window(first, clock.now()))
    assert tested is not None
    assert [each.key for each in tested.firings] == ["1:day:2025-10-03", "1:day:2025-10-01"]
    assert tested.firings[0].context == {"account_id": 1, "balance": "-4.00"}
    assert (tested.true, tested.reasons) == (3, {Reason.ALREADY_SENT: 1})


async def test_an_explanation_shows_its_clauses(seven: Bench, clock: SteppedClock) -> None:
    """Before and after it was told."""
    alert_id = await _alert(seven)
    await seven.put(account(1, "7", clock.now()))
    explained = await seven.explaining.explain(PARTNER, USER, alert_id)
    assert explained is not None
    assert explained.why_not is Quiet.NOT_TRUE
    assert explained.summary == 'It does not fire: "below zero" does not hold (balance 7.00).'
    await seven.put(account(1, "-7", clock.now() + timedelta(seconds=1)))
    told = await seven.explaining.explain(PARTNER, USER, alert_id)
    assert told is not None
    assert told.why_not is Reason.ALREADY_SENT
    assert [each.key for each in told.facts[0].occurrences] == ["1:day:2025-11-03"]
