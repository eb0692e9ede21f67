"""Explaining one alert: the facts as they are, each clause, each reason against, and what was told before.

The judgement of each fact is the scan's own expression (`scanning.verdict`), and whether the alert would fire is asked
of the scan that `EvaluateAlert` begins with: an explanation cannot say otherwise than an evaluation does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Row, Select, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin_evaluator.evaluation.explained_rows import explain_statement
from tocsin_evaluator.evaluation.run import Moment, scan
from tocsin_evaluator.evaluation.scope import Scope
from tocsin_evaluator.evaluation.summing_up import summary
from tocsin_evaluator.kinds.kind import Kind
from tocsin_evaluator.kinds.registry import Registry
from tocsin_evaluator.model.explanation import (
    Crossing,
    Explanation,
    Quiet,
    ShownClause,
    ShownFact,
    ShownOccurrence,
    WhyNot,
)
from tocsin_evaluator.model.words import Reason, Verdict, Way
from tocsin_evaluator.store.reading import read_only
from tocsin_evaluator.store.tables import alerts
from tocsin_kit.clock import Clock

#: As long as a backtest may take.
LONGEST = timedelta(seconds=5)


@dataclass(frozen=True)
class Explaining:
    """Explains alerts. Changes nothing."""

    engine: AsyncEngine
    clock: Clock
    registry: Registry
    max_age: timedelta

    async def explain(self, partner_id: int, user_id: int, alert_id: int) -> Explanation | None:
        """Why one of the user's alerts fires or does not; None where they have no such alert."""
        moment = Moment(self.clock.now(), Way.USER, self.max_age)
        where = {"of_partner": partner_id, "of_user": user_id, "of_alert": alert_id}
        parameters = {**moment.parameters(), **where}
        async with read_only(self.engine, LONGEST) as connection:
            name = await connection.scalar(_kind_of(), where)
            if name is None:
                return None
            kind = self.registry.by_name[name]
            rows = (await connection.execute(explain_statement(kind), parameters)).all()
            why_not = await _scanned(connection, kind, parameters)
        return _explanation(kind, rows, why_not, moment.at)


@cache
def _kind_of() -> Select[str]:
    """By primary key."""
    mine = (alerts.c.partner_id == bindparam("of_partner"), alerts.c.user_id == bindparam("of_user"))
    return select(alerts.c.kind).where(*mine, alerts.c.id == bindparam("of_alert"), alerts.c.deleted_at.is_(None))


async def _scanned(connection: AsyncConnection, kind: Kind, parameters: Mapping[str, object]) -> WhyNot | None:
    """What evaluating the alert now would come to: None for a firing, else the first reason why not."""
    found = (await scan(connection, [kind], Scope.ALERT, parameters))[kind.name]
    if found.verdicts[Verdict.FIRE]:
        return None
    return next(iter(found.tally(0, kind.lost_to, None).reasons), Quiet.NOT_TRUE)


def _explanation(
    kind: Kind, rows: Sequence[Row[*tuple[Any, ...]]], scanned: WhyNot | None, at: datetime
) -> Explanation:
    one = rows[0]
    facts = [_fact(row) for row in rows if row.fact_id is not None]
    why_not = _overall(one.active, facts, scanned)
    crossing = None
    if one.crossing_version is not None:
        crossing = Crossing(one.armed, one.seen_version, one.crossing_version)
    explained = Explanation(
        summary="",
        why_not=why_not,
        at=at,
        active=one.active,
        snoozed_until=_to_come(one.snoozed_until, at),
        next_possible_at=_to_come(one.quiet_until, at) if kind.guarded_by_its_row else None,
        currency=one.alert_currency or "",
        time_zone=one.time_zone,
        condition_version=one.condition_version,
        crossing=crossing,
        facts=facts,
    )
    return replace(explained, summary=summary(explained, kind.fact.name.removesuffix("s")))


def _overall(active: bool, facts: Sequence[ShownFact], scanned: WhyNot | None) -> WhyNot | None:
    """What the scan says; where that is only that nothing it looked at is true, what the facts add."""
    if not active:
        return Quiet.INACTIVE
    if scanned is not Quiet.NOT_TRUE:
        return scanned
    if not facts:
        return Quiet.NO_FACT
    said = [fact.why_not for fact in facts if fact.why_not is not None]
    return next((each for each in said if each is not Quiet.NOT_TRUE), Quiet.NOT_TRUE)


def _to_come(instant: datetime | None, at: datetime) -> datetime | None:
    return instant if instant is not None and instant > at else None


def _fact(row: Row[*tuple[Any, ...]]) -> ShownFact:
    return ShownFact(
        id=row.fact_id,
        currency=row.currency,
        as_of=row.as_of,
        clauses=[
            ShownClause(
                name=each["name"],
                holds=bool(each["holds"]),
                values={name: str(value) for name, value in each["values"].items() if value is not None},
            )
            for each in row.clauses
        ],
        reasons=[(Reason(each["reason"]), bool(each["applies"])) for each in row.reasons],
        occurrences=[
            ShownOccurrence(
                key=each["key"],
                percent=each["percent"],
                reached=bool(each["reached"]),
                fired=each["fired"],
                at=None if each["at"] is None else datetime.fromisoformat(each["at"]),
            )
            for each in row.occurrences or ()
            if each["key"] is not None
        ],
        why_not=_why_not(row.verdict, row.active, row.is_looked_at),
    )


def _why_not(judged: str, active: bool, is_looked_at: bool) -> WhyNot | None:
    """A verdict as a reason; what is true and not looked at came before the alert."""
    match judged:
        case Verdict.FALSE | Verdict.REARM:
            return Quiet.NOT_TRUE
        case Verdict.NOTE:
            return Reason.PASSED
        case Verdict.FIRE:
            if not active:
                return Quiet.INACTIVE
            return None if is_looked_at else Quiet.BEFORE_ALERT
    return Reason(judged)
