"""Rows that somebody else has locked for long (a console, a replica that stands still): others do not wait for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import TextClause

from tocsin_dispatcher.keys import DeliveryKey, UserKey
from tocsin_dispatcher.store.database import Connection, Engine, in_transaction
from tocsin_dispatcher.store.statement import BIG, TEXT, UUID_, Parameter, RowSet, statement
from tocsin_dispatcher.values import Channel
from tocsin_kit.transient import LOCK_NOT_AVAILABLE, sqlstate

Answer = TypeVar("Answer")

#: When what is locked is tried again. Each try costs those that come with it the two seconds below.
LOCKED_FOR = timedelta(seconds=5)

_LIMIT = statement("SET LOCAL lock_timeout = '2s'")

_DELIVERIES = RowSet("k", partner_id=BIG, id=UUID_)
_PEOPLE = RowSet("k", partner_id=BIG, user_id=BIG)

# Primary key. What could be locked stays locked: it is free until the transaction ends.
_LOCKED_DELIVERIES = statement(
    f"""
WITH free AS (
  SELECT d.partner_id, d.id
    FROM {_DELIVERIES}
    JOIN deliveries d ON d.partner_id = k.partner_id AND d.id = k.id
     FOR NO KEY UPDATE OF d SKIP LOCKED
)
SELECT k.partner_id, k.id
  FROM {_DELIVERIES}
 WHERE NOT EXISTS (SELECT FROM free f WHERE f.partner_id = k.partner_id AND f.id = k.id)
""",  # noqa: S608 - the row set is of our own making
    _DELIVERIES,
)


def _locked_of_people(table: str, condition: str = "true", **types: Parameter) -> TextClause:
    """Primary key, likewise. Who has no row has nothing that could be locked."""
    rows = f"{_PEOPLE} JOIN {table} t ON t.partner_id = k.partner_id AND t.user_id = k.user_id AND {condition}"
    return statement(
        f"""
WITH free AS (
  SELECT t.partner_id, t.user_id FROM {rows}
     FOR NO KEY UPDATE OF t SKIP LOCKED
)
SELECT k.partner_id, k.user_id FROM {rows}
 WHERE NOT EXISTS (SELECT FROM free f WHERE f.partner_id = k.partner_id AND f.user_id = k.user_id)
""",  # noqa: S608 - the row set and the tables are of our own making
        _PEOPLE,
        **types,
    )


_LOCKED_INBOXES = _locked_of_people("unread")
_LOCKED_COUNTERS = _locked_of_people("counters", "t.channel = :channel", channel=TEXT)


async def past_locks(engine: Engine, work: Callable[[Connection, bool], Awaitable[Answer]]) -> Answer:
    """Run `work` in a transaction that waits two seconds at most for each lock: workers hold theirs for milliseconds.

    Where one was not to be had, it is run once more, and is told to leave out what others have locked. Raises the
    driver's error (SQLSTATE 55P03) where even then something was locked that it could not leave out.
    """

    async def limited(connection: Connection, leaving_out: bool) -> Answer:
        await connection.execute(_LIMIT)
        return await work(connection, leaving_out)

    try:
        return await in_transaction(engine, lambda connection: limited(connection, False))
    except Exception as error:
        if not is_locked(error):
            raise
    return await in_transaction(engine, lambda connection: limited(connection, True))


def is_locked(error: BaseException) -> bool:
    """Whether a lock was not to be had within its limit."""
    return sqlstate(error) == LOCK_NOT_AVAILABLE


async def locked_deliveries(connection: Connection, keys: Iterable[DeliveryKey]) -> frozenset[DeliveryKey]:
    """Those of these deliveries that somebody else has locked; the others are this transaction's now."""
    rows = await connection.execute(_LOCKED_DELIVERIES, _DELIVERIES.filled(sorted(set(keys))))
    return frozenset(DeliveryKey(row.partner_id, row.id) for row in rows)


async def locked_people(connection: Connection, users: Iterable[UserKey], channel: Channel) -> frozenset[UserKey]:
    """Those of these people whose inbox, or whose counters of the channel, somebody else has locked; the others' are
    this transaction's now. Rows that are being made are not seen."""
    people = _PEOPLE.filled(sorted(set(users)))
    locked = [*await connection.execute(_LOCKED_INBOXES, people)]
    locked += await connection.execute(_LOCKED_COUNTERS, {**people, "channel": channel})
    return frozenset(UserKey(row.partner_id, row.user_id) for row in locked)
