"""Which firings of state kinds still hold."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from functools import cache
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    CompoundSelect,
    Integer,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    column,
    func,
    literal,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.selectable import NamedFromClause

from tocsin_evaluator.evaluation.scanning import versioned
from tocsin_evaluator.evaluation.scope import live, snoozed
from tocsin_evaluator.kinds.kind import Kind, Rows, rows_over
from tocsin_evaluator.kinds.registry import Registry
from tocsin_evaluator.store.tables import firings


class Recheck(StrEnum):
    """What a recheck finds."""

    HOLDS = "holds"
    NO_LONGER_TRUE = "no_longer_true"
    ALERT_GONE = "alert_gone"
    SNOOZED = "snoozed"


def _one_kind(kind: Kind) -> Select[int, UUID, str]:
    """The firings asked for of a kind, by primary key, with their alerts and facts as they are now.

    A goal keeps its milestones, and a purchase stays made: only thresholds, targets and bills can cease to hold.
    """
    rows = rows_over(kind.fact)
    a, f, p = rows.alert, rows.fact, rows.person
    arrays = [bindparam("partner_ids", type_=ARRAY(BigInteger)), bindparam("firing_ids", type_=ARRAY(Uuid))]
    shape = [column("partner_id", BigInteger), column("id", Uuid)]
    asked = func.unnest(*arrays).table_valued(*shape, name="asked").render_derived()
    g = firings.alias("g")
    source = asked.join(g, and_(g.c.partner_id == asked.c.partner_id, g.c.id == asked.c.id))
    source = source.outerjoin(a, and_(a.c.partner_id == g.c.partner_id, a.c.id == g.c.alert_id))
    holds: ColumnElement[bool] = true()
    if kind.has_subject:
        source = source.outerjoin(f, kind.joins(rows))
        source = source.outerjoin(p, and_(p.c.partner_id == a.c.partner_id, p.c.user_id == a.c.user_id))
    if kind.can_cease:
        holds = func.coalesce(_still(kind, rows, g), False, type_=Boolean)
    verdict = case(
        (func.coalesce(live(rows), False, type_=Boolean).is_(False), literal(Recheck.ALERT_GONE, Text)),
        (snoozed(rows), literal(Recheck.SNOOZED, Text)),
        (holds, literal(Recheck.HOLDS, Text)),
        else_=literal(Recheck.NO_LONGER_TRUE, Text),
    )
    return select(g.c.partner_id, g.c.id, verdict).select_from(source).where(g.c.kind == kind.name)


def _still(kind: Kind, rows: Rows, firing: NamedFromClause) -> ColumnElement[bool]:
    """The condition now, unedited, and the same occurrence: period and percent, or due day."""
    same_condition = firing.c.condition_version == rows.alert.c.condition_version
    if kind.percents is not None:
        percent: ColumnElement[int] = cast(firing.c.context["percent"].astext, Integer)
        same = versioned(rows, kind.percents.key(rows, percent)) == firing.c.occurrence_key
        return and_(same_condition, kind.percents.reached(rows, percent), same)
    condition = and_(same_condition, kind.condition(rows))
    if kind.guarded_by_its_row or kind.key is None:
        return condition
    return and_(condition, versioned(rows, kind.key(rows)) == firing.c.occurrence_key)


@cache
def _statement(kinds: tuple[Kind, ...]) -> CompoundSelect[int, UUID, str]:
    return union_all(*[_one_kind(kind) for kind in kinds])


async def recheck(
    connection: AsyncConnection, registry: Registry, asked: Sequence[tuple[int, UUID]], at: datetime
) -> dict[tuple[int, UUID], Recheck]:
    """A verdict per (partner, firing); a firing that is gone is not among them."""
    parameters = {
        "partner_ids": [partner for partner, _ in asked],
        "firing_ids": [id_ for _, id_ in asked],
        "moment": at,
        "any_hour": True,
    }
    rows = await connection.execute(_statement(registry.kinds), parameters)
    return {(partner, id_): Recheck(verdict) for partner, id_, verdict in rows}
