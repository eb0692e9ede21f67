"""The plain scan: which alerts are true, and of each the one reason why it does not fire. It locks nothing."""

from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Select,
    Text,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY

from tocsin_evaluator.evaluation.scope import Joined, Scope, is_asleep, is_silent, joined, percents_of, snoozed
from tocsin_evaluator.kinds.kind import Kind, Rows, Test
from tocsin_evaluator.model.words import Reason, Verdict
from tocsin_evaluator.store.tables import occurrences


def versioned(rows: Rows, key: ColumnElement[str]) -> ColumnElement[str]:
    """An occurrence's key led by the condition's version, so that an edited condition starts fresh."""
    return cast(rows.alert.c.condition_version, Text).concat(literal(":", Text)).concat(key)


def _current_key(kind: Kind, rows: Rows) -> ColumnElement[str]:
    """The occurrence that would fire: of several percents the highest reached, for all below go in with it."""
    if kind.percents is None:
        if kind.key is None:
            raise TypeError(f"{kind.name} names no occurrence")
        return kind.key(rows)
    m = percents_of(rows)
    highest = select(func.max(m.c.percent)).select_from(m).where(kind.percents.reached(rows, m.c.percent))
    return kind.percents.key(rows, highest.correlate(rows.alert, rows.fact, rows.person).scalar_subquery())


def _already_sent(kind: Kind, rows: Rows) -> ColumnElement[bool]:
    """Whether the occurrence is recorded: a probe of the occurrences' primary key."""
    found = select(literal(1)).where(
        occurrences.c.partner_id == rows.alert.c.partner_id,
        occurrences.c.alert_id == rows.alert.c.id,
        occurrences.c.key == versioned(rows, _current_key(kind, rows)),
    )
    return exists(found.correlate(rows.alert, rows.fact, rows.person))


def may_rearm(kind: Kind, source: Joined) -> ColumnElement[bool] | None:
    """Whether a crossing turned false and is to be armed again; a snoozed alert is left untouched."""
    return _awake(kind.rearms, source)


def _awake(test: Test | None, source: Joined) -> ColumnElement[bool] | None:
    if test is None:
        return None
    return and_(test(source.rows), snoozed(source.rows).is_(False), source.backfill.is_(False))


def reasons_against(kind: Kind, source: Joined) -> list[tuple[Reason, ColumnElement[bool]]]:
    """Why a true one may not fire, in the order in which the first that applies is named."""
    rows = source.rows
    reasons = [(Reason.BACKFILL, source.backfill), (Reason.SNOOZED, is_asleep(kind, rows))]
    reasons += [(reason, test(rows)) for reason, test in kind.reasons]
    if not kind.guarded_by_its_row:
        reasons.append((Reason.ALREADY_SENT, _already_sent(kind, rows)))
    return reasons


def verdict(kind: Kind, source: Joined, scope: Scope) -> ColumnElement[str]:
    """What is said of one alert and fact: a Verdict, or the first Reason that applies.

    A fact that has just come in, which comes once, may turn an alert false that a sweep is about to fire: of one that
    is armed still, only who holds its lock knows whether it is to be armed again.
    """
    rows = source.rows
    reasons = reasons_against(kind, source)
    fires = case((is_silent(kind, rows), literal(Verdict.NOTE, Text)), else_=literal(Verdict.FIRE, Text))
    when_true = case(*[(test, literal(reason, Text)) for reason, test in reasons], else_=fires)
    cases: list[tuple[ColumnElement[bool], ColumnElement[str]]] = [(kind.condition(rows), when_true)]
    rearm = _awake(kind.may_rearm, source) if scope is Scope.FACTS else may_rearm(kind, source)
    if rearm is not None:
        cases.append((rearm, literal(Verdict.REARM, Text)))
    return case(*cases, else_=literal(Verdict.FALSE, Text))


def _scan(kind: Kind, scope: Scope) -> Select[tuple[str, str, int, list[int], list[int], list[int] | None]]:
    source = joined(kind, scope)
    rows = source.rows
    where = source.where
    if scope in (Scope.RANGE, Scope.ZONE):  # false ones are the rest of what is known to be live: not worth a row
        rearm = may_rearm(kind, source)
        true_ones = kind.condition(rows)
        where = and_(where, true_ones if rearm is None else or_(true_ones, rearm))
    judged = (
        select(
            verdict(kind, source, scope).label("verdict"),
            rows.alert.c.partner_id,
            rows.alert.c.id,
            rows.fact.c.id.label("fact_id"),
        )
        .select_from(source.source)
        .where(where)
        .offset(literal_column("0"))  # a fence: flattened, the verdict would be worked out three times over
        .subquery("judged")
    )
    chosen = judged.c.verdict.in_([Verdict.FIRE, Verdict.NOTE, Verdict.REARM])

    def ids(of: ColumnElement[int]) -> ColumnElement[Any]:
        return func.array_agg(of, type_=ARRAY(BigInteger)).filter(chosen)

    return select(
        literal(kind.name, Text).label("kind"),
        judged.c.verdict,
        func.count().label("n"),
        ids(judged.c.partner_id).label("partner_ids"),
        ids(judged.c.id).label("ids"),
        (ids(judged.c.fact_id) if scope is Scope.FACTS else null()).label("fact_ids"),
    ).group_by(judged.c.verdict)


@cache
def scan_statement(
    kinds: tuple[Kind, ...], scope: Scope
) -> CompoundSelect[str, str, int, list[int], list[int], list[int] | None]:
    """A row per kind and verdict: how many, and the keys of the alerts to fire or to arm again, in FACTS with the fact
    of each.

    Indexes: FACTS the facts' primary keys, then alerts_by_subject (alerts_by_user for transaction kinds); RANGE
    alerts_by_user; ZONE bills_by_due; WOKEN alerts_by_snooze; USER and ALERT the alerts' own.
    """
    return union_all(*[_scan(kind, scope) for kind in kinds])
