"""Keeping `bills.next_due_on` at or before the true next due day, for the index's sake."""

from collections.abc import Iterable
from datetime import datetime
from functools import cache

from sqlalchemy import BigInteger, ColumnElement, Text, Update, and_, bindparam, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.kinds.kind import Rows, rows_over
from tocsin_evaluator.kinds.upcoming_bill import next_due
from tocsin_evaluator.store.tables import bills
from tocsin_evaluator.store.upserts import Key, key_arrays


def _renewal(rows: Rows, where: ColumnElement[bool]) -> Update:
    f, p = rows.fact, rows.person
    due = (
        select(f.c.partner_id, f.c.id, next_due(rows).label("due_on"))
        .select_from(f.outerjoin(p, and_(p.c.partner_id == f.c.partner_id, p.c.user_id == f.c.user_id)))
        .where(where)
        .order_by(f.c.partner_id, f.c.id)
        .with_for_update(of=f, key_share=True)
        .cte("due")
    )
    here = and_(bills.c.partner_id == due.c.partner_id, bills.c.id == due.c.id)
    moved = bills.c.next_due_on.is_distinct_from(due.c.due_on)
    return update(bills).where(here, moved).values(next_due_on=due.c.due_on)


@cache
def _of_keys() -> Update:
    rows = rows_over(bills)
    arrays = [bindparam(name, type_=ARRAY(BigInteger)) for name in ("partner_ids", "ids")]
    named = select(*[func.unnest(array) for array in arrays])
    return _renewal(rows, tuple_(rows.fact.c.partner_id, rows.fact.c.id).in_(named))


@cache
def _of_zone() -> Update:
    rows = rows_over(bills)
    behind: ColumnElement[bool] = rows.fact.c.next_due_on < rows.today
    return _renewal(rows, and_(behind, rows.zone == bindparam("of_zone", type_=Text)))


async def renew(connection: AsyncConnection, keys: Iterable[Key], at: datetime) -> None:
    """Work out the next due day of these bills; locks them in key order, by primary key."""
    arrays = key_arrays(keys)
    if arrays["ids"]:
        await connection.execute(_of_keys(), {**arrays, "moment": at})


async def renew_zone(connection: AsyncConnection, zone: str, at: datetime) -> None:
    """Move on the bills in a zone whose next due day has passed; locks them in key order. bills_by_due."""
    await connection.execute(_of_zone(), {"of_zone": zone, "moment": at})
