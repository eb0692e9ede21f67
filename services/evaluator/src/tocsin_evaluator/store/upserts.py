"""Putting facts: idempotent by (partner, id), ordered by `as_of`, never moving a row to another owner."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, TypeAlias

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    case,
    cast,
    column,
    delete,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.dml import ReturningInsert

from tocsin_evaluator.model.words import SpentSource, TransactionStatus
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
_KEPT = {transactions: {"purchase_id", "purchase_on", "received_at"}}
#: What alone makes no change, and goes with one. Only `as_of` moves by itself too, or a version that is older than a
#: repeat would overwrite what was repeated.
_NOT_COMPARED = {
    transactions: {"backfill", "other_form_id", "as_of"},
    people: {"as_of"},
    **{table: {"received_at"} for table in (accounts, goals, budgets, bills)},
}


@dataclass(frozen=True)
class Put:
    """What became of rows: the new version of each that is new or changed, and those whose id is another's."""

    versions: dict[Key, int]
    foreign: frozenset[Key]
    categories_before: dict[Key, str] = field(default_factory=dict)


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
    kept = {*key, "user_id", *_KEPT.get(table, ())}
    becomes = {name: new[name] for name in names if name not in kept} | _becomes(table, new)
    compared = [name for name in becomes if name not in _NOT_COMPARED[table]]
    was, will_be = ([of[name] for name in compared] for of in (table.c, becomes))
    differs = tuple_(*was).is_distinct_from(tuple_(*will_be))
    for name in _NOT_COMPARED[table] - {"as_of"}:
        becomes[name] = case((differs, becomes[name]), else_=table.c[name])
    newer = or_(new.as_of > table.c.as_of, and_(new.as_of == table.c.as_of, differs))
    return statement.on_conflict_do_update(
        index_elements=key,
        set_={**becomes, "version": table.c.version + cast(differs, Integer)},
        where=and_(table.c.user_id == new.user_id, newer),
    ).returning(
        table.c.partner_id,
        table.c[key[1]],
        table.c.version,
        literal_column("old.version", BigInteger),
        literal_column("old.category", Text) if table is transactions else null(),
    )


def _becomes(table: Table, new: ReadOnlyColumnCollection[str, Any]) -> dict[str, ColumnElement[Any]]:
    """What a column becomes where that is not simply what the row brings.

    Spending that is derived stays until it is summed anew. A transaction that is booked under its own id has been its
    own pending form: it waits for no other, which would be an equal purchase.
    """
    was = table.c
    if table is transactions:
        booked = and_(was.status == TransactionStatus.PENDING, new.status == TransactionStatus.POSTED)
        return {"other_form_id": func.coalesce(was.other_form_id, case((booked, was.id)))}
    if table is budgets:
        stays = and_(was.spent_source == SpentSource.DERIVED, new.spent_source == SpentSource.DERIVED)
        return {name: case((stays, was[name]), else_=new[name]) for name in ("spent", "spent_from", "spent_until")}
    return {}


_STATEMENTS = {kind: _statement(kind) for kind in TABLES}


async def put(connection: AsyncConnection, rows: Sequence[Row]) -> Put:
    """Write rows of one kind, each key once, in key order (which is the lock order), by primary key.

    An older row, and one that changes nothing, is left out silently; one whose id belongs to another user is named.
    One that changes nothing but is newer makes the stored row as new as itself.
    """
    if not rows:
        return Put({}, frozenset())
    kind = type(rows[0])
    arrays = {each.name: [getattr(row, each.name) for row in rows] for each in fields(kind)}
    written = [row for row in await connection.execute(_STATEMENTS[kind], arrays) if row[2] != row[3]]
    versions = {(partner, id_): version for partner, id_, version, _, _ in written}
    categories = {(partner, id_): category for partner, id_, _, _, category in written if category is not None}
    left_out = {_key(row): row for row in rows if _key(row) not in versions}
    foreign = await _foreign(connection, kind, left_out) if left_out and kind is not PersonRow else frozenset()
    return Put(versions, foreign, categories)


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


async def owner_by_key(connection: AsyncConnection, table: Table, keys: Collection[Key]) -> dict[Key, int]:
    """Whose those of the rows are that exist, by primary key."""
    if not keys:
        return {}
    found = await connection.execute(select(table.c.partner_id, table.c.id, table.c.user_id).where(_among(table, keys)))
    return {(partner, id_): user for partner, id_, user in found}


async def owners(connection: AsyncConnection, table: Table, keys: Collection[Key]) -> set[Key]:
    """(partner, user) of those of the rows that exist, by primary key."""
    if not keys:
        return set()
    found = await connection.execute(select(table.c.partner_id, table.c.user_id).where(_among(table, keys)))
    return {(partner, user) for partner, user in found}


async def remove(connection: AsyncConnection, table: Table, keys: Collection[Key]) -> set[Key]:
    """Delete rows in key order, by primary key; answers (partner, user) of those that were there."""
    if not keys:
        return set()
    await lock(connection, table, keys)
    gone = delete(table).where(_among(table, keys)).returning(table.c.partner_id, table.c.user_id)
    return {(partner, user) for partner, user in await connection.execute(gone)}
