"""Which alerts and facts one statement looks at, and how they are joined."""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    FromClause,
    Integer,
    Interval,
    TableValuedAlias,
    Text,
    and_,
    bindparam,
    column,
    false,
    func,
    literal,
    not_,
    null,
    or_,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.selectable import LateralFromClause

from tocsin_evaluator.kinds.kind import Kind, Rows, rows_over
from tocsin_evaluator.model.words import AfterEdit

#: How long before its creation or edit a purchase may have arrived for an alert to look at it still.
BEFORE_THE_EDIT = timedelta(seconds=60)


class Scope(Enum):
    """What restricts a statement."""

    FACTS = auto()
    """Facts that just came in, by key; their rows are locked by this transaction."""
    RANGE = auto()
    """The alerts of one partner's users from one id to another."""
    ZONE = auto()
    """The alerts of people in one time zone."""
    WOKEN = auto()
    """The alerts whose snooze has ended since an instant."""
    USER = auto()
    """One user's alerts."""
    ALERT = auto()
    """One alert."""
    CHOSEN = auto()
    """Alerts by key, as an earlier scan found them."""
    PAIRS = auto()
    """Alerts with the facts that just came in for them, each pair by its keys, as a scan of FACTS found them."""


@dataclass(frozen=True)
class Joined:
    """Alerts joined to their facts and people, restricted; and what the scope knows of each fact's arrival."""

    rows: Rows
    source: FromClause
    where: ColumnElement[bool]
    backfill: ColumnElement[bool]
    traceparent: ColumnElement[str]
    tracestate: ColumnElement[Any]


def facts_parameter(kind: Kind, name: str) -> str:
    """The parameter that holds `name` of the arrived facts of the kind's table, an array."""
    return f"{kind.fact.name}_{name}"


def _arrived(kind: Kind) -> TableValuedAlias:
    """The arrived facts as a table: partner_id, id, backfill, traceparent, tracestate."""
    columns = (("partner_id", BigInteger), ("id", BigInteger), ("backfill", Boolean))
    traces = (("traceparent", Text), ("tracestate", Text))
    arrays = [bindparam(facts_parameter(kind, name), type_=ARRAY(type_)) for name, type_ in (*columns, *traces)]
    shape = [column(name, type_) for name, type_ in (*columns, *traces)]
    return func.unnest(*arrays).table_valued(*shape, name="arrived").render_derived()


def _pairs() -> TableValuedAlias:
    """The pairs an earlier scan found, as a table: partner_id, alert_id, fact_id, traceparent, tracestate."""
    keys = (("partner_id", BigInteger), ("alert_id", BigInteger), ("fact_id", BigInteger))
    columns = (*keys, ("traceparent", Text), ("tracestate", Text))
    arrays = [bindparam(f"pair_{name}", type_=ARRAY(type_)) for name, type_ in columns]
    shape = [column(name, type_) for name, type_ in columns]
    return func.unnest(*arrays).table_valued(*shape, name="pairs").render_derived()


def chosen_alerts() -> TableValuedAlias:
    """The alerts an earlier statement chose, as a table: partner_id, id."""
    arrays = [bindparam(name, type_=ARRAY(BigInteger)) for name in ("alert_partner_ids", "alert_ids")]
    shape = [column("partner_id", BigInteger), column("id", BigInteger)]
    return func.unnest(*arrays).table_valued(*shape, name="chosen").render_derived()


def live(rows: Rows) -> ColumnElement[bool]:
    """Active and not deleted, in the words of the partial indexes."""
    return and_(rows.alert.c.active, rows.alert.c.deleted_at.is_(None))


def snoozed(rows: Rows) -> ColumnElement[bool]:
    """Told to be quiet for now."""
    return func.coalesce(rows.alert.c.snoozed_until > rows.at, False, type_=Boolean)


def is_silent(kind: Kind, rows: Rows) -> ColumnElement[bool]:
    """Whether what is true is only noted: the alert is new, and its evaluation after the edit has not been yet."""
    if not kind.silent_when_new:
        return false()
    return func.coalesce(rows.alert.c.evaluate_after_edit == AfterEdit.SILENTLY, False, type_=Boolean)


def is_asleep(kind: Kind, rows: Rows) -> ColumnElement[bool]:
    """Whether the alert is left alone for now. A snooze does not put off what is noted and not told."""
    return and_(snoozed(rows), not_(is_silent(kind, rows))) if kind.silent_when_new else snoozed(rows)


def is_recent(rows: Rows) -> ColumnElement[bool]:
    """The purchases a transaction alert looks at when it is created, edited or asked: no history, not older than
    the edit less a minute, nor what it slept through (while it sleeps, that is the reason why it does not fire). The
    bound on posted_at is the index's: what came in within the age is at most twice as old.
    """
    a, f = rows.alert.c, rows.fact.c
    age = bindparam("max_age", type_=Interval)
    since = func.greatest(a.condition_changed_at - literal(BEFORE_THE_EDIT, Interval), rows.at - age)
    awake = or_(a.snoozed_until.is_(None), f.received_at >= a.snoozed_until, a.snoozed_until > rows.at)
    reach = rows.at - age - age - literal(timedelta(days=2), Interval)
    return and_(f.received_at >= since, f.posted_at >= reach, f.backfill.is_(False), awake)


def joined(kind: Kind, scope: Scope) -> Joined:
    """The join of `kind` in `scope`."""
    rows = rows_over(kind.fact)
    a, f, p = rows.alert, rows.fact, rows.person
    where = [live(rows), a.c.kind == kind.name, _restriction(rows, scope)]
    if kind.is_event and scope not in (Scope.FACTS, Scope.PAIRS):
        where.append(is_recent(rows))
    source: FromClause
    backfill: ColumnElement[bool] = false()
    traceparent: ColumnElement[str] = bindparam("caller_trace", type_=Text)
    tracestate: ColumnElement[Any] = null()
    match scope:
        case Scope.FACTS:
            arrived = _arrived(kind)
            backfill, traceparent, tracestate = arrived.c.backfill, arrived.c.traceparent, arrived.c.tracestate
            source = arrived.join(f, and_(f.c.partner_id == arrived.c.partner_id, f.c.id == arrived.c.id))
            source = source.join(a, kind.joins(rows))
        case Scope.PAIRS:
            pairs = _pairs()
            traceparent, tracestate = pairs.c.traceparent, pairs.c.tracestate
            source = pairs.join(a, and_(a.c.partner_id == pairs.c.partner_id, a.c.id == pairs.c.alert_id))
            source = source.join(f, and_(f.c.partner_id == pairs.c.partner_id, f.c.id == pairs.c.fact_id))
            # Checked, not gone by: each is found by its key, and a join by user would meet all of the user's facts.
            where.append(func.coalesce(kind.joins(rows), False, type_=Boolean))
        case Scope.CHOSEN:
            picked = chosen_alerts()
            source = f.join(a, kind.joins(rows))
            source = source.join(picked, and_(a.c.partner_id == picked.c.partner_id, a.c.id == picked.c.id))
        case _:
            source = f.join(a, kind.joins(rows))
    source = source.outerjoin(p, and_(p.c.partner_id == a.c.partner_id, p.c.user_id == a.c.user_id))
    return Joined(rows, source, and_(*where), backfill, traceparent, tracestate)


def _restriction(rows: Rows, scope: Scope) -> ColumnElement[bool]:
    a, f = rows.alert.c, rows.fact.c
    partner = bindparam("of_partner", type_=BigInteger)
    match scope:
        case Scope.FACTS | Scope.CHOSEN | Scope.PAIRS:
            return true()
        case Scope.RANGE:
            first, last = (bindparam(name, type_=BigInteger) for name in ("user_from", "user_to"))
            return and_(
                a.partner_id == partner,
                f.partner_id == partner,
                a.user_id.between(first, last),
                f.user_id.between(first, last),
            )
        case Scope.ZONE:
            return rows.zone == bindparam("of_zone", type_=Text)
        case Scope.WOKEN:
            since = bindparam("woken_since", type_=DateTime(timezone=True))
            return and_(a.snoozed_until > since, a.snoozed_until <= rows.at)
        case Scope.USER:
            return and_(a.partner_id == partner, a.user_id == bindparam("of_user", type_=BigInteger))
        case Scope.ALERT:
            return and_(a.partner_id == partner, a.id == bindparam("of_alert", type_=BigInteger))


def percents_of(rows: Rows) -> LateralFromClause:
    """The alert's percents as a lateral table: percent."""
    shape = [column("percent", Integer)]
    return func.unnest(rows.alert.c.percents).table_valued(*shape, name="m").render_derived().lateral("m")
