"""Firings as they were written."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Row, Select, Uuid, and_, bindparam, column, func, select, text, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.model.alerts import StoredFiring
from tocsin_evaluator.model.words import Channel, KindName
from tocsin_evaluator.store.tables import firings

_COLUMNS = (
    firings.c.partner_id,
    firings.c.id,
    firings.c.user_id,
    firings.c.alert_id,
    firings.c.kind,
    firings.c["class"],
    firings.c.occurrence_key,
    firings.c.context,
    firings.c.fired_at,
    firings.c.alert_name,
    firings.c.critical,
    firings.c.channels,
    firings.c.daily_digest,
    firings.c.time_zone,
    firings.c.locale,
    firings.c.profile_version,
)


def _firing(row: Row[*tuple[Any, ...]]) -> StoredFiring:
    return StoredFiring(
        partner_id=row.partner_id,
        id=row.id,
        user_id=row.user_id,
        alert_id=row.alert_id,
        kind=KindName(row.kind),
        work_class=row._mapping["class"],
        occurrence_key=row.occurrence_key,
        context=row.context,
        fired_at=row.fired_at,
        alert_name=row.alert_name,
        critical=row.critical,
        channels=frozenset(Channel(each) for each in row.channels),
        daily_digest=row.daily_digest,
        time_zone=row.time_zone,
        locale=row.locale,
        profile_version=row.profile_version,
    )


@cache
def _of_keys() -> Select[*tuple[Any, ...]]:
    arrays = [bindparam("partner_ids", type_=ARRAY(BigInteger)), bindparam("ids", type_=ARRAY(Uuid))]
    shape = [column("partner_id", BigInteger), column("id", Uuid)]
    asked = func.unnest(*arrays).table_valued(*shape, name="asked").render_derived()
    same = and_(firings.c.partner_id == asked.c.partner_id, firings.c.id == asked.c.id)
    return select(*_COLUMNS).select_from(asked.join(firings, same))


async def of_keys(connection: AsyncConnection, keys: Sequence[tuple[int, UUID]]) -> list[StoredFiring]:
    """Firings by (partner, id), by primary key; those that are gone are left out."""
    arrays = {"partner_ids": [partner for partner, _ in keys], "ids": [id_ for _, id_ in keys]}
    return [_firing(row) for row in await connection.execute(_of_keys(), arrays)]


async def page(
    connection: AsyncConnection, partner_id: int, alert_id: int, before: tuple[datetime, UUID] | None, size: int
) -> list[StoredFiring]:
    """An alert's firings before a place, newest first. firings_of_alert."""
    statement = select(*_COLUMNS).where(firings.c.partner_id == partner_id, firings.c.alert_id == alert_id)
    if before is not None:
        statement = statement.where(tuple_(firings.c.fired_at, firings.c.id) < tuple_(*before))
    rows = await connection.execute(statement.order_by(firings.c.fired_at.desc(), firings.c.id.desc()).limit(size))
    return [_firing(row) for row in rows]


async def latest_ids(connection: AsyncConnection, partner_id: int, alert_id: int, n: int) -> tuple[UUID, ...]:
    """The ids of an alert's newest firings. firings_of_alert."""
    newest = (
        select(firings.c.id)
        .where(firings.c.partner_id == partner_id, firings.c.alert_id == alert_id)
        .order_by(firings.c.fired_at.desc(), firings.c.id.desc())
        .limit(n)
    )
    return tuple((await connection.execute(newest)).scalars())


@dataclass(frozen=True)
class Minute:
    """The firings of a minute, counted, and the exclusive or over their ids as two signed 64-bit numbers."""

    minute: datetime
    count: int
    xor_high: int
    xor_low: int


# firings_by_time.
_SUMMARY = text("""
SELECT date_trunc('minute', fired_at, 'UTC') AS minute, count(*),
       bit_xor(CAST(CAST('x' || left(hex, 16) AS bit(64)) AS bigint)),
       bit_xor(CAST(CAST('x' || right(hex, 16) AS bit(64)) AS bigint))
FROM (SELECT fired_at, replace(CAST(id AS text), '-', '') AS hex FROM firings
      WHERE fired_at >= :since AND fired_at < :until
        AND (CAST(:partner_id AS bigint) IS NULL OR partner_id = :partner_id)) AS f
GROUP BY minute ORDER BY minute
""")

# firings_by_time. The n-th publication has a message id of its own, or the broker would take it for a repeat.
_REPUBLISH = text("""
WITH published AS (
  INSERT INTO outbox (class, subject, message_id, partner_id, firing_id, traceparent, tracestate, created_at)
  SELECT class, 'tocsin.firings.' || class, CAST(id AS text) || ':' || CAST(:n AS text), partner_id, id,
         traceparent, tracestate, :at
  FROM firings
  WHERE fired_at >= :since AND fired_at < :until
    AND (CAST(:partner_id AS bigint) IS NULL OR partner_id = :partner_id)
  ORDER BY fired_at, id
  RETURNING class
)
SELECT class, count(*) FROM published GROUP BY class
""")


async def summary(
    connection: AsyncConnection, partner_id: int | None, since: datetime, until: datetime
) -> list[Minute]:
    """The minutes of [since, until) with firings, oldest first; no partner means all together."""
    rows = await connection.execute(_SUMMARY, {"partner_id": partner_id, "since": since, "until": until})
    return [Minute(*row) for row in rows]


async def republish(
    connection: AsyncConnection, partner_id: int | None, since: datetime, until: datetime, n: str, at: datetime
) -> dict[str, int]:
    """Write outbox rows for the firings of [since, until) again; answers how many of each class."""
    parameters = {"partner_id": partner_id, "since": since, "until": until, "n": n, "at": at}
    return {work_class: int(n) for work_class, n in await connection.execute(_REPUBLISH, parameters)}
