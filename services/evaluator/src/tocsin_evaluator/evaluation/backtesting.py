"""What an alert, saved or not, would have told in the past: the kind's own expressions over the stored past.

One statement joins the alert, a row of bound values, to the history of its fact and answers what was true, oldest
first; a walk over it (`deduplicating.py`) tells what would have fired. Nothing is written, and nothing takes longer
than five seconds.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Integer,
    Row,
    Select,
    Subquery,
    Text,
    and_,
    bindparam,
    case,
    cast,
    false,
    func,
    literal,
    null,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by, array
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_evaluator.evaluation.deduplicating import Deduplication, Hit
from tocsin_evaluator.evaluation.scanning import versioned
from tocsin_evaluator.evaluation.scope import percents_of
from tocsin_evaluator.kinds.kind import Kind, Rows, json_object
from tocsin_evaluator.kinds.past import History, NoHistory, Past
from tocsin_evaluator.kinds.registry import Registry
from tocsin_evaluator.model.alerts import Wish
from tocsin_evaluator.model.backtest import Backtested, Window
from tocsin_evaluator.model.words import Reason
from tocsin_evaluator.store import hypothetical
from tocsin_evaluator.store.planning import plan_for_the_numbers_at_hand
from tocsin_evaluator.store.reading import TookTooLong, read_only
from tocsin_evaluator.store.tables import alerts, people

#: How long a backtest may take (evaluation page, "Before and after"), waiting for its turn included.
LONGEST = timedelta(seconds=5)
#: How many run at once in a replica: each holds one of the connections that facts and sweeps need too.
_TURNS = 2
#: How many rows are walked over between two looks at other work: 2 ms.
_ROWS_AT_ONCE = 100


@dataclass(frozen=True)
class Backtest:
    """Tries alerts out on the past."""

    engine: AsyncEngine
    registry: Registry
    longest: timedelta = LONGEST
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_TURNS), init=False, repr=False)

    async def of_wish(self, partner_id: int, user_id: int, wish: Wish, window: Window) -> Backtested:
        """An alert that nobody saves. Raises TookTooLong."""
        alert = hypothetical.of_wish(partner_id, user_id, wish)
        async with self._reading() as connection:
            return await self._run(connection, alert, window)

    async def of_alert(self, partner_id: int, user_id: int, alert_id: int, window: Window) -> Backtested | None:
        """One of the user's alerts as though it were new; None where they have no such alert. Raises TookTooLong."""
        async with self._reading() as connection:
            alert = await hypothetical.of_stored(connection, partner_id, user_id, alert_id)
            return None if alert is None else await self._run(connection, alert, window)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        """The database gives a statement up in time, and we give up several that are each in time."""
        deadline = asyncio.timeout(self.longest.total_seconds())
        try:
            async with deadline, self._turns, read_only(self.engine, self.longest) as reading:
                yield reading
        except TimeoutError as error:
            if deadline.expired():
                raise TookTooLong from error
            raise

    async def _run(self, connection: AsyncConnection, alert: Mapping[str, Any], window: Window) -> Backtested:
        kind = self.registry.by_name[alert["kind"]]
        fact: Mapping[str, Any] = {}
        if kind.has_subject:
            found = (await connection.execute(_subject(kind), _owner(alert))).one_or_none()
            if found is None:
                missing = f"the bank has posted no such {kind.fact.name.removesuffix('s')}"
                return Backtested(kind.name, window, missing_history=missing)
            fact = dict(found._mapping)
        history = kind.history(fact)
        if isinstance(history, NoHistory):
            return Backtested(kind.name, window, missing_history=history.why)
        zone = ZoneInfo(await connection.scalar(_zone(), _owner(alert)) or "UTC")
        parameters = backtest_parameters(alert, history, Past(fact, zone, window))
        await plan_for_the_numbers_at_hand(connection)
        walk = Deduplication(kind, window)
        async with connection.stream(backtest_statement(kind, history), parameters) as rows:
            async for part in rows.partitions(_ROWS_AT_ONCE):
                for row in part:
                    walk.take(_hit(row))
        return walk.result(history.notes)


def _owner(alert: Mapping[str, Any]) -> dict[str, Any]:
    return {"of_partner": alert["partner_id"], "of_user": alert["user_id"], "of_subject": alert.get("subject_id")}


@cache
def _subject(kind: Kind) -> Select[*tuple[Any, ...]]:
    """What the alert is about, as it is now; by primary key."""
    f = kind.fact
    mine = (f.c.partner_id == bindparam("of_partner"), f.c.user_id == bindparam("of_user"))
    return select(f).where(*mine, f.c.id == bindparam("of_subject"))


@cache
def _zone() -> Select[str]:
    """By primary key."""
    mine = and_(people.c.partner_id == bindparam("of_partner"), people.c.user_id == bindparam("of_user"))
    return select(people.c.time_zone).where(mine)


def _parameter(of: Column[Any]) -> str:
    return f"alert_{of.name}"


def backtest_parameters(alert: Mapping[str, Any], history: History, past: Past) -> dict[str, object]:
    """What `backtest_statement` takes."""
    return {
        **{_parameter(column): alert.get(column.name) for column in alerts.c},
        **_owner(alert),
        "since": past.window.since,
        "until": past.window.until,
        "any_hour": False,
        **history.parameters(past),
    }


def _hypothetical() -> Subquery:
    """An alert's row of bound values: the same for one that is saved and one that is not."""
    values = [cast(bindparam(_parameter(each), type_=each.type), each.type).label(each.name) for each in alerts.c]
    return select(*values).subquery("a")


@cache
def backtest_statement(kind: Kind, history: History) -> Select[*tuple[Any, ...]]:
    """What was true, oldest first, with what deduplication goes by. Its indexes are the history's."""
    facts = history.facts()
    rows = Rows(_hypothetical(), facts, people.alias("p"), at=facts.c.at)
    a, p = rows.alert, rows.person
    source = a.join(facts, kind.joins(rows))
    source = source.outerjoin(p, and_(p.c.partner_id == a.c.partner_id, p.c.user_id == a.c.user_id))
    holds: ColumnElement[bool] = func.coalesce(kind.condition(rows), False, type_=Boolean)
    in_order = (facts.c.at, facts.c.number)
    keys, percents = _occurrences(kind, rows)
    columns: list[ColumnElement[Any]] = [
        facts.c.at.label("at"),
        facts.c.number.label("number"),
        _reason(kind, rows).label("reason"),
        keys.label("keys"),
        percents.label("percents"),
        cast(json_object(kind.context(rows)), Text).label("context"),
        rows.today.label("local_day"),
        (kind.daily_digest(rows) if kind.daily_digest is not None else false()).label("in_digest"),
        (kind.quiet_until(rows) if kind.quiet_until is not None else cast(null(), DateTime(timezone=True))).label(
            "quiet_until"
        ),
    ]
    if not kind.guarded_by_its_row:
        columns += [literal(False).label("held_before"), cast(null(), DateTime(timezone=True)).label("next_at")]
        return select(*columns).select_from(source).where(holds).order_by(*in_order)
    columns += [
        holds.label("holds"),
        func.coalesce(func.lag(holds).over(order_by=in_order), False, type_=Boolean).label("held_before"),
        func.lead(facts.c.at).over(order_by=in_order).label("next_at"),
    ]
    judged = select(*columns).select_from(source).subquery("judged")
    return select(judged).where(judged.c.holds).order_by(judged.c.at, judged.c.number)


def _reason(kind: Kind, rows: Rows) -> ColumnElement[Any]:
    """The first reason against, of those that the alert's row and its fact give."""
    cases = [(test(rows), literal(reason, Text)) for reason, test in kind.reasons]
    return case(*cases) if cases else cast(null(), Text)


def _occurrences(kind: Kind, rows: Rows) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """The keys of what is reached, ascending, and their percents: null for kinds without."""
    if kind.percents is None:
        if kind.key is None:
            raise TypeError(f"{kind.name} names no occurrence")
        return array([versioned(rows, kind.key(rows))]), cast(null(), ARRAY(Integer))
    m = percents_of(rows)
    percent: ColumnElement[int] = m.c.percent
    key = versioned(rows, kind.percents.key(rows, percent))
    reached = kind.percents.reached(rows, percent)

    def all_of(of: ColumnElement[Any]) -> ColumnElement[Any]:
        found = select(func.array_agg(aggregate_order_by(of, percent))).select_from(m).where(reached)
        return found.correlate(rows.alert, rows.fact, rows.person).scalar_subquery()

    return all_of(key), all_of(percent)


def _hit(row: Row[*tuple[Any, ...]]) -> Hit:
    return Hit(
        at=row.at,
        reason=None if row.reason is None else Reason(row.reason),
        keys=row.keys,
        percents=row.percents,
        context=row.context,
        local_day=row.local_day,
        in_digest=row.in_digest,
        quiet_until=row.quiet_until,
        held_before=row.held_before,
        next_at=row.next_at,
    )
