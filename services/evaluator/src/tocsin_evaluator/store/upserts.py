"""Putting facts: idempotent by (partner, id), ordered by `as_of`, never moving a row to another owner."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, TypeAlias

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    Table,
    and_,
    bindparam,
    column,
    delete,
    func,
    literal,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningInsert

from tocsin_evaluator.store.rows import AccountRow, BillRow, BudgetRow, GoalRow, PersonRow, TransactionRow
from tocsin_evaluator.store.tables import accounts, bills, budgets, goals, people, transactions

Row: TypeAlias = PersonRow | AccountRow | TransactionRow | GoalRow | BudgetRow | BillRow
Key: TypeAlias = tuple[int, int]
"""(partner id, the bank's id)."""

TABLES: dict[type[Row], Table] = {
    PersonRow: people,
    AccountRow: accounts,
    TransactionRow: transactions,
    GoalRow: goals,
    BudgetRow: budgets,
    BillRow: bills,
}
#: What a second version leaves as the first one made it.
_KEPT = {transactions: {"purchase_id", "purchase_on", "paired", "received_at"}}
#: What alone makes no change.
_NOT_COMPARED = {transactions: {"backfill", "as_of"}, people: {"as_of"}}


@dataclass(frozen=True)
class Put:
    """What became of rows: the new version of each that is new or changed, and those whose id is another's."""

    versions: dict[Key, int]
    foreign: frozenset[Key]


def _table_of(kind: type[Row], names: Sequence[str]) -> FromClause:
    table = TABLES[kind]
    arrays = [bindparam(name, type_=ARRAY(table.c[name].type)) for name in names]
    shape = [column(name, table.c[name].type) for name in names]
    return func.unnest(*arrays).table_valued(*shape, name="brought").render_derived()


def _statement(kind: type[Row]) -> ReturningInsert[*tuple[Any, ...]]:
    table, names = TABLES[kind], [each.name for each in fields(kind)]
    brought = _table_of(kind, names)
    key = [column.name for column in table.primary_key]
    rows = select(*brought.c, literal(1, BigInteger)).order_by(*[brought.c[name] for name in key])
    statement = insert(table).from_select([*names, "version"], rows)
    new = statement.excluded
    changing = [name for name in names if name not in {*key, "user_id"} | _KEPT.get(table, set())]
    compared = [name for name in changing if name not in _NOT_COMPARED.get(table, set())]
    differs = tuple_(*[table.c[name] for name in compared]).is_distinct_from(tuple_(*[new[name] for name in compared]))
    return statement.on_conflict_do_update(
        index_elements=key,
        set_={**{name: new[name] for name in changing}, "version": table.c.version + 1},
        where=and_(table.c.user_id == new.user_id, new.as_of >= table.c.as_of, differs),
    ).returning(table.c.partner_id, table.c[key[1]], table.c.version)


_STATEMENTS = {kind: _statement(kind) for kind in TABLES}


async def put(connection: AsyncConnection, rows: Sequence[Row]) -> Put:
    """Write rows of one kind, each key once, in key order (which is the lock order), by primary key.

    An older row, and one that changes nothing, is left out silently; one whose id belongs to another user is named.
    """
    if not rows:
        return Put({}, frozenset())
    kind = type(rows[0])
    arrays = {each.name: [getattr(row, each.name) for row in rows] for each in fields(kind)}
    changed = await connection.execute(_STATEMENTS[kind], arrays)
    versions = {(partner, id_): version for partner, id_, version in changed}
    left_out = {_key(row): row for row in rows if _key(row) not in versions}
    foreign = await _foreign(connection, kind, left_out) if left_out and kind is not PersonRow else frozenset()
    return Put(versions, foreign)


def _key(row: Row) -> Key:
    return row.partner_id, row.user_id if isinstance(row, PersonRow) else row.id


async def _foreign(connection: AsyncConnection, kind: type[Row], rows: dict[Key, Row]) -> frozenset[Key]:
    table = TABLES[kind]
    found = await connection.execute(select(table.c.partner_id, table.c.id, table.c.user_id).where(_among(table, rows)))
    return frozenset((partner, id_) for partner, id_, owner in found if rows[partner, id_].user_id != owner)


def _among(table: Table, keys: Iterable[Key]) -> ColumnElement[bool]:
    return tuple_(table.c.partner_id, table.c.id).in_(sorted(keys))


@cache
def _by_key(table: Table) -> FromClause:
    arrays = [bindparam(name, type_=ARRAY(BigInteger)) for name in ("partner_ids", "ids")]
    shape = [column("partner_id", BigInteger), column("id", BigInteger)]
    return func.unnest(*arrays).table_valued(*shape, name="keys").render_derived()


@cache
def _locking(table: Table) -> Select[int]:
    keys = _by_key(table)
    return (
        select(literal_column("1"))
        .select_from(keys.join(table, and_(table.c.partner_id == keys.c.partner_id, table.c.id == keys.c.id)))
        .order_by(table.c.partner_id, table.c.id)
        .with_for_update(of=table, key_share=True)
    )


def key_arrays(keys: Iterable[Key]) -> dict[str, list[int]]:
    """Keys as the parameters `partner_ids` and `ids`, in order."""
    in_order = sorted(set(keys))
    return {"partner_ids": [key[0] for key in in_order], "ids": [key[1] for key in in_order]}


async def lock(connection: AsyncConnection, table: Table, keys: Iterable[Key]) -> None:
    """Lock those of the rows that exist, in key order, by primary key."""
    arrays = key_arrays(keys)
    if arrays["ids"]:
        await connection.execute(_locking(table), arrays)


async def remove(connection: AsyncConnection, table: Table, keys: Iterable[Key]) -> list[tuple[int, int]]:
    """Delete rows in key order, by primary key; answers (partner, user) of those that were there."""
    in_order = sorted(set(keys))
    await lock(connection, table, in_order)
    gone = await connection.execute(
        delete(table)
        .where(tuple_(table.c.partner_id, table.c.id).in_(in_order))
        .returning(table.c.partner_id, table.c.user_id)
    )
    return [(partner, user) for partner, user in gone]
