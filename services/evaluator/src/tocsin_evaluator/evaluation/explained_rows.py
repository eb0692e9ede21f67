"""The statement that explains an alert: its facts, and of each the clauses, the reasons against and the occurrences.

The judgement of a fact is the scan's own expression (`scanning.verdict`).
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    FromClause,
    Integer,
    Select,
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
    true,
)
from sqlalchemy.dialects.postgresql import JSON, aggregate_order_by

from tocsin_evaluator.evaluation.scanning import reasons_against, verdict, versioned
from tocsin_evaluator.evaluation.scope import Joined, Scope, is_recent, percents_of
from tocsin_evaluator.kinds.kind import Clause, Kind, Rows, json_object, rows_over
from tocsin_evaluator.store.tables import occurrences

#: How many of a user's transactions are shown.
NEWEST = 10


def _source(kind: Kind) -> tuple[Rows, FromClause, Joined]:
    """The alert with its subject, or with the newest of the user's transactions, or with none."""
    rows = rows_over(kind.fact)
    if kind.is_event:
        newest = (
            select(rows.fact)
            .where(kind.joins(rows))
            .order_by(rows.fact.c.posted_at.desc(), rows.fact.c.id.desc())
            .limit(NEWEST)
            .correlate(rows.alert)
        )
        rows = Rows(rows.alert, newest.lateral("newest"), rows.person)
    a, f, p = rows.alert, rows.fact, rows.person
    source = a.outerjoin(f, true() if kind.is_event else kind.joins(rows))
    source = source.outerjoin(p, and_(p.c.partner_id == a.c.partner_id, p.c.user_id == a.c.user_id))
    nothing = cast(null(), Text)
    backfill = f.c.backfill if kind.is_event else false()
    return rows, source, Joined(rows, source, true(), backfill, nothing, nothing)


@cache
def explain_statement(kind: Kind) -> Select[*tuple[Any, ...]]:
    """A row per fact, newest first, or one without a fact. The alert and its subject by primary key, a user's
    transactions by transactions_by_user, occurrences by primary key.
    """
    rows, source, judged = _source(kind)
    a, f = rows.alert.c, rows.fact.c
    columns: list[ColumnElement[Any]] = [
        a.active.label("active"),
        a.snoozed_until.label("snoozed_until"),
        a.currency.label("alert_currency"),
        a.condition_version.label("condition_version"),
        a.armed.label("armed"),
        a.seen_version.label("seen_version"),
        a.quiet_until.label("quiet_until"),
        rows.zone.label("time_zone"),
        f.id.label("fact_id"),
        f.currency.label("currency"),
        f.as_of.label("as_of"),
        _clauses(kind.clauses(rows)).label("clauses"),
        _reasons(kind, judged).label("reasons"),
        _occurrences(kind, rows).label("occurrences"),
        verdict(kind, judged, Scope.ALERT).label("verdict"),
        _is_looked_at(kind, rows).label("is_looked_at"),
        _crossing_version(kind, rows).label("crossing_version"),
    ]
    partner, user, alert = (bindparam(name, type_=BigInteger) for name in ("of_partner", "of_user", "of_alert"))
    order = [f.posted_at.desc(), f.id.desc()] if kind.is_event else []
    return (
        select(*columns)
        .select_from(source)
        .where(a.partner_id == partner, a.user_id == user, a.id == alert)
        .order_by(*order)
    )


def _list(parts: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
    return func.json_build_array(*parts, type_=JSON)


def _clauses(clauses: Sequence[Clause]) -> ColumnElement[Any]:
    return _list(
        [
            json_object({"name": literal(each.name, Text), "holds": each.holds, "values": json_object(each.shown)})
            for each in clauses
        ]
    )


def _reasons(kind: Kind, judged: Joined) -> ColumnElement[Any]:
    against = reasons_against(kind, judged)
    return _list([json_object({"reason": literal(reason, Text), "applies": test}) for reason, test in against])


def _occurrences(kind: Kind, rows: Rows) -> ColumnElement[Any]:
    """The occurrence, or one per percent, each with what is recorded of it. None where the alert's row is the guard."""
    if kind.guarded_by_its_row:
        return cast(null(), JSON)
    o, m = occurrences.alias("o"), percents_of(rows)
    if kind.percents is not None:
        percent: ColumnElement[Any] = m.c.percent
        key, reached = kind.percents.key(rows, percent), kind.percents.reached(rows, percent)
    elif kind.key is not None:
        percent = cast(null(), Integer)
        key, reached = kind.key(rows), kind.condition(rows)
    else:
        raise TypeError(f"{kind.name} names no occurrence")
    told = {"key": versioned(rows, key), "percent": percent, "reached": reached, "fired": o.c.fired, "at": o.c.at}
    mine = and_(o.c.partner_id == rows.alert.c.partner_id, o.c.alert_id == rows.alert.c.id)
    recorded = and_(mine, o.c.key == versioned(rows, key))
    if kind.percents is None:
        one = select(literal(1).label("one")).subquery("one")
        found = select(func.json_agg(json_object(told), type_=JSON)).select_from(one.outerjoin(o, recorded))
    else:
        each = aggregate_order_by(json_object(told), m.c.percent)
        found = select(func.json_agg(each, type_=JSON)).select_from(m.outerjoin(o, recorded))
    return found.correlate(rows.alert, rows.fact, rows.person).scalar_subquery()


def _is_looked_at(kind: Kind, rows: Rows) -> ColumnElement[bool]:
    """Whether an evaluation of the alert looks at the fact at all."""
    return func.coalesce(is_recent(rows), False, type_=Boolean) if kind.is_event else true()


def _crossing_version(kind: Kind, rows: Rows) -> ColumnElement[int]:
    """The version that a crossing compares; null for what fires by a cooldown, or is no threshold."""
    if kind.crossing_version is None or kind.quiet_until is None:
        return cast(null(), BigInteger)
    return case((kind.quiet_until(rows).is_(None), kind.crossing_version(rows)))
