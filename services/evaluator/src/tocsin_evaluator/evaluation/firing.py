"""The firing statement: from the alerts that are true to firings and outbox rows, once per occurrence.

Its shape is what makes it safe under READ COMMITTED with any number of writers. The condition and its guard stand
inside the locking SELECT (`hit`), where PostgreSQL re-checks them on the newest version of an alert after waiting for
its lock. What was sent before is refused by the occurrences' primary key (`claimed`). Firings, counters and outbox
rows follow from what was really inserted. Alerts are locked in (partner_id, id) order; facts are never locked here.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    DateTime,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    false,
    func,
    insert,
    literal,
    literal_column,
    not_,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert

from tocsin_evaluator.evaluation.scanning import may_rearm, versioned
from tocsin_evaluator.evaluation.scope import Joined, Scope, chosen_alerts, is_asleep, is_silent, joined, percents_of
from tocsin_evaluator.kinds.kind import Kind, Rows
from tocsin_evaluator.store.tables import alerts, firings, occurrences, outbox

#: What a statement needs from a hit, beside the occurrence.
_AT = bindparam("moment", type_=DateTime(timezone=True))


def _json(values: dict[str, ColumnElement[Any]]) -> ColumnElement[Any]:
    pairs: list[object] = []
    for name, value in values.items():
        pairs += [literal(name, Text), value]
    return func.jsonb_build_object(*pairs, type_=JSONB)


def _may_fire(kind: Kind, source: Joined, condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """The condition, and none of the reasons against that the alert's row and its fact give."""
    rows = source.rows
    against = [source.backfill, is_asleep(kind, rows), *[clause(rows) for _, clause in kind.reasons]]
    return and_(condition, *[not_(clause) for clause in against])


def _hit(kind: Kind, scope: Scope) -> CTE:
    """The alerts that are true, one row per occurrence, locked in order; crossings that turned false as well."""
    source = joined(kind, scope)
    rows, a = source.rows, source.rows.alert.c
    from_ = source.source
    context = kind.context(rows)
    if kind.percents is not None:
        m = percents_of(rows)
        percent: ColumnElement[int] = m.c.percent
        from_ = from_.join(m, true())
        fires = _may_fire(kind, source, kind.percents.reached(rows, percent))
        key = kind.percents.key(rows, percent)
        context["percent"] = percent
    else:
        if kind.key is None:
            raise TypeError(f"{kind.name} names no occurrence")
        percent = cast(null(), Integer)
        fires = _may_fire(kind, source, kind.condition(rows))
        key = kind.key(rows)
    rearm = may_rearm(kind, source)
    hit = (
        select(
            a.partner_id,
            a.id.label("alert_id"),
            a.user_id,
            a.name.label("alert_name"),
            a.condition_version,
            a.channels,
            a.critical,
            percent.label("percent"),
            fires.label("fires"),
            is_silent(kind, rows).label("silent"),
            versioned(rows, key).label("key"),
            _json(context).label("context"),
            _or_null(kind.daily_digest, rows, false()).label("daily_digest"),
            _or_null(kind.crossing_version, rows, cast(null(), BigInteger)).label("version"),
            _or_null(kind.quiet_until, rows, cast(null(), DateTime(timezone=True))).label("quiet_until"),
            rows.zone.label("time_zone"),
            func.coalesce(rows.person.c.locale, "en-US").label("locale"),
            func.coalesce(rows.person.c.version, 0).label("profile_version"),
            _order_of(kind, rows).label("fact_order"),
            rows.fact.c.id.label("fact_id"),
            source.traceparent.label("traceparent"),
            cast(source.tracestate, Text).label("tracestate"),
        )
        .select_from(from_)
        .where(source.where, fires if rearm is None else or_(fires, rearm))
        .order_by(a.partner_id, a.id)
        .with_for_update(of=rows.alert, key_share=True)  # FOR NO KEY UPDATE OF a
    )
    return hit.cte("hit")


def _or_null(clause: object, rows: Rows, otherwise: ColumnElement[Any]) -> ColumnElement[Any]:
    return clause(rows) if callable(clause) else otherwise


def _order_of(kind: Kind, rows: Rows) -> ColumnElement[Any]:
    """Which fact comes first where several are the same occurrence: the earliest purchase."""
    return rows.fact.c.posted_at if kind.is_event else _AT


def _picked(kind: Kind, hit: CTE) -> CTE:
    """One row per occurrence; of several percents only the highest is to fire, and none where it is to be silent."""
    fires: ColumnElement[bool] = true()
    if kind.percents is not None:
        mine = [hit.c.partner_id, hit.c.alert_id]
        fires = hit.c.percent == func.max(hit.c.percent).over(partition_by=mine)
    if kind.silent_when_new:
        fires = and_(fires, not_(hit.c.silent))
    one = [hit.c.partner_id, hit.c.alert_id, hit.c.key]
    return (
        select(hit, fires.label("first_told"))
        .where(hit.c.fires)
        .ext(distinct_on(*one))
        .order_by(*one, hit.c.fact_order, hit.c.fact_id)
        .cte("picked")
    )


def _claimed(picked: CTE) -> CTE:
    """The occurrences that were not recorded before: the primary key decides between any number of writers."""
    c = picked.c
    rows = select(
        c.partner_id, c.alert_id, c.key, c.first_told, case((c.first_told, func.uuidv7())), _AT.label("at")
    ).order_by(c.partner_id, c.alert_id, c.key)
    return (
        upsert(occurrences)
        .from_select(["partner_id", "alert_id", "key", "fired", "firing_id", "at"], rows)
        .on_conflict_do_nothing()
        .returning(occurrences.c.partner_id, occurrences.c.alert_id, occurrences.c.key, occurrences.c.firing_id)
        .cte("claimed")
    )


def _own_trace(firing_id: ColumnElement[Any], run: ColumnElement[str]) -> ColumnElement[str]:
    """A trace of the firing's own, kept or not as the run's is: a run with a million firings is not one trace."""
    trace_id = func.replace(cast(firing_id, Text), "-", "", type_=Text)
    flags = func.right(run, 3, type_=Text)
    return literal("00-", Text).concat(trace_id).concat("-").concat(func.right(trace_id, 16)).concat(flags)


def _made(picked: CTE, claimed: CTE, own_traces: bool) -> CTE:
    """The firings to write: the picked ones whose occurrence was claimed, each with its id and its trace.

    A full join is done by hash or merge only. The planner expects one row of each side, whatever comes, and would join
    them in a nested loop: 30 s for 15,000 firings. The fence keeps the filter from making an inner join of it.
    """
    c = picked.c
    same = and_(c.partner_id == claimed.c.partner_id, c.alert_id == claimed.c.alert_id, c.key == claimed.c.key)
    both = (
        select(picked, claimed.c.firing_id)
        .select_from(claimed.join(picked, same, full=True))
        .offset(literal_column("0"))
        .subquery("both")
    )
    traceparent: ColumnElement[str] = both.c.traceparent
    tracestate: ColumnElement[str] = both.c.tracestate
    if own_traces:
        traceparent = _own_trace(both.c.firing_id, both.c.traceparent)
        tracestate = literal("tocsin=", Text).concat(func.substr(both.c.traceparent, 4, 49))
    others = [each for each in both.c if each.name not in ("traceparent", "tracestate")]
    return (
        select(*others, traceparent.label("traceparent"), tracestate.label("tracestate"))
        .where(both.c.firing_id.is_not(None))
        .cte("made")
    )


def _written(kind: Kind, made: CTE) -> CTE:
    """The firings, with everything the dispatcher will be told, as of now."""
    c = made.c
    values: dict[str, ColumnElement[Any]] = {
        "partner_id": c.partner_id,
        "id": c.firing_id,
        "user_id": c.user_id,
        "alert_id": c.alert_id,
        "kind": literal(kind.name, Text),
        "class": bindparam("work_class", type_=Text),
        "occurrence_key": c.key,
        "condition_version": c.condition_version,
        "context": c.context,
        "alert_name": c.alert_name,
        "channels": c.channels,
        "critical": c.critical,
        "daily_digest": c.daily_digest,
        "time_zone": c.time_zone,
        "locale": c.locale,
        "profile_version": c.profile_version,
        "fired_at": _AT,
        "traceparent": c.traceparent,
        "tracestate": c.tracestate,
    }
    rows = select(*[value.label(name) for name, value in values.items()])
    return insert(firings).from_select(list(values), rows).returning(firings.c.id).cte("written")


def _counters(kind: Kind, made: CTE) -> CTE:
    """What the alerts' own rows remember of their firings."""
    told = (
        select(
            made.c.partner_id,
            made.c.alert_id,
            func.count().label("n"),
            func.max(made.c.version).label("version"),
            func.max(made.c.quiet_until).label("quiet_until"),
        )
        .group_by(made.c.partner_id, made.c.alert_id)
        .cte("told")
    )
    values: dict[str, object] = {"last_triggered_at": _AT, "trigger_count": alerts.c.trigger_count + told.c.n}
    if kind.quiet_until is not None:
        values["quiet_until"] = told.c.quiet_until
    if kind.crossing_version is not None:
        values |= {"armed": false(), "seen_version": told.c.version}
    return (
        update(alerts)
        .where(alerts.c.partner_id == told.c.partner_id, alerts.c.id == told.c.alert_id)
        .values(**values)
        .returning(alerts.c.id)
        .cte("counted")
    )


def _rearmed(hit: CTE) -> CTE:
    """Crossings that turned false: the one case in which an alert that did not fire is written."""
    return (
        update(alerts)
        .where(alerts.c.partner_id == hit.c.partner_id, alerts.c.id == hit.c.alert_id, not_(hit.c.fires))
        .values(armed=true(), seen_version=hit.c.version)
        .returning(alerts.c.id)
        .cte("rearmed")
    )


def _announced(made: CTE) -> CTE:
    """A pointer per firing for the relay, which reads and encodes the firings of a batch at once."""
    c = made.c
    values: dict[str, ColumnElement[Any]] = {
        "class": bindparam("work_class", type_=Text),
        "subject": literal("tocsin.firings.", Text).concat(bindparam("work_class", type_=Text)),
        "message_id": cast(c.firing_id, Text),
        "partner_id": c.partner_id,
        "firing_id": c.firing_id,
        "traceparent": c.traceparent,
        "tracestate": c.tracestate,
        "created_at": _AT,
    }
    rows = select(*[value.label(name) for name, value in values.items()]).order_by(c.partner_id, c.firing_id)
    return insert(outbox).from_select(list(values), rows).returning(outbox.c.id).cte("announced")


@cache
def firing_statement(kind: Kind, scope: Scope, *, own_traces: bool) -> Select[int]:
    """Fire what is true among the chosen alerts of a kind; answers how many firings it wrote.

    PAIRS looks at facts that this transaction holds; CHOSEN follows a scan and a locking of the same alerts, so that
    its snapshot is newer than every wait. With `own_traces` each firing starts a trace, else it goes on with
    that of its fact or of the caller.
    """
    hit = _hit(kind, scope)
    picked = _picked(kind, hit)
    claimed = _claimed(picked)
    made = _made(picked, claimed, own_traces)
    others: Sequence[CTE] = [_written(kind, made), _counters(kind, made), _announced(made)]
    if kind.rearms is not None:
        others = [*others, _rearmed(hit)]
    return select(func.count().label("fired")).select_from(made).add_cte(*others)


@cache
def locking_statement() -> Select[bool]:
    """Lock the chosen alerts in (partner_id, id) order, by primary key; answers which are armed, as they are then."""
    chosen = chosen_alerts()
    a = alerts.alias("a")
    return (
        select(a.c.armed)
        .select_from(chosen.join(a, and_(a.c.partner_id == chosen.c.partner_id, a.c.id == chosen.c.id)))
        .order_by(a.c.partner_id, a.c.id)
        .with_for_update(of=a, key_share=True)
    )
