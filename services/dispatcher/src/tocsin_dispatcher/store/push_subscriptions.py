"""Push subscriptions as their users keep them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.notifications import Place
from tocsin_dispatcher.store.statement import BIG, BYTES, INSTANT, SMALL, TEXT, UUID_, statement

_MINE = "partner_id = :partner_id AND user_id = :user_id"
_SCOPE = {"partner_id": BIG, "user_id": BIG}
_COLUMNS = "partner_id, id, user_id, name, service, sealed, created_at"


@dataclass(frozen=True, slots=True)
class StoredSubscription:
    """A push subscription as its row stands."""

    partner_id: int
    id: UUID
    user_id: int
    name: str
    service: str
    sealed: bytes = field(repr=False)
    created_at: datetime


# One after another: what is counted here stands until the transaction ends.
_LOCK = statement("SELECT pg_advisory_xact_lock(hashtextextended(:named, 0))", named=TEXT)

# Index push_subscriptions_once.
_FIND = statement(
    f"SELECT {_COLUMNS} FROM push_subscriptions WHERE partner_id = :partner_id AND endpoint_hash = :endpoint_hash",  # noqa: S608
    partner_id=BIG,
    endpoint_hash=BYTES,
)

# Index push_subscriptions_of_user.
_COUNT = statement(f"SELECT count(*) FROM push_subscriptions WHERE {_MINE}", **_SCOPE)  # noqa: S608

# Primary key.
_PUT = statement(
    f"""
INSERT INTO push_subscriptions ({_COLUMNS}, endpoint_hash)
VALUES (:partner_id, :id, :user_id, :name, :service, :sealed, :created_at, :endpoint_hash)
ON CONFLICT (partner_id, id) DO UPDATE SET name = excluded.name, sealed = excluded.sealed
""",  # noqa: S608 - constants of our own
    **_SCOPE,
    id=UUID_,
    name=TEXT,
    service=TEXT,
    sealed=BYTES,
    created_at=INSTANT,
    endpoint_hash=BYTES,
)

# Index push_subscriptions_of_user.
_LIST = statement(
    f"""
SELECT {_COLUMNS} FROM push_subscriptions
 WHERE {_MINE} AND (CAST(:after_at AS timestamptz) IS NULL OR (created_at, id) < (:after_at, :after_id))
 ORDER BY created_at DESC, id DESC LIMIT :size
""",  # noqa: S608 - constants of our own
    **_SCOPE,
    after_at=INSTANT,
    after_id=UUID_,
    size=SMALL,
)

# Primary key.
_GET = statement(f"SELECT {_COLUMNS} FROM push_subscriptions WHERE {_MINE} AND id = :id", **_SCOPE, id=UUID_)  # noqa: S608

# Primary key.
_DELETE = statement(f"DELETE FROM push_subscriptions WHERE {_MINE} AND id = :id", **_SCOPE, id=UUID_)  # noqa: S608

# Primary key. Two tests at once: one of them begins.
_BEGIN_TEST = statement(
    f"""
UPDATE push_subscriptions SET tested_at = :now
 WHERE {_MINE} AND id = :id AND (tested_at IS NULL OR tested_at <= :free_since)
""",  # noqa: S608 - constants of our own
    **_SCOPE,
    id=UUID_,
    now=INSTANT,
    free_since=INSTANT,
)


async def lock_named(connection: Connection, named: str) -> None:
    """Until the transaction ends nobody else has the lock of this name."""
    await connection.execute(_LOCK, {"named": named})


async def find(connection: Connection, partner_id: int, endpoint_hash: bytes) -> StoredSubscription | None:
    """Whose the browser is, at this bank."""
    values = {"partner_id": partner_id, "endpoint_hash": endpoint_hash}
    row = (await connection.execute(_FIND, values)).one_or_none()
    return None if row is None else _subscription(row)


async def count(connection: Connection, user: UserKey) -> int:
    """How many browsers the user has."""
    return int(await connection.scalar(_COUNT, user._asdict()) or 0)


async def put(connection: Connection, subscription: StoredSubscription, endpoint_hash: bytes) -> None:
    """Store a new one, or what has changed of one."""
    values = {name: getattr(subscription, name) for name in StoredSubscription.__slots__}
    await connection.execute(_PUT, {**values, "endpoint_hash": endpoint_hash})


async def page(connection: Connection, user: UserKey, size: int, after: Place | None) -> Sequence[StoredSubscription]:
    """A page of the user's, newest first."""
    place = {"after_at": after and after.created_at, "after_id": after and after.id}
    rows = await connection.execute(_LIST, {**user._asdict(), **place, "size": size})
    return [_subscription(row) for row in rows]


async def get(connection: Connection, user: UserKey, id_: UUID) -> StoredSubscription | None:
    """One of the user's."""
    row = (await connection.execute(_GET, {**user._asdict(), "id": id_})).one_or_none()
    return None if row is None else _subscription(row)


async def delete(connection: Connection, user: UserKey, id_: UUID) -> bool:
    """Remove one of the user's; whether there was one."""
    return (await connection.execute(_DELETE, {**user._asdict(), "id": id_})).rowcount == 1


async def begin_test(connection: Connection, user: UserKey, id_: UUID, now: datetime, pause: timedelta) -> bool:
    """Note that a test begins; False where the last one was less than `pause` ago, or there is no such browser."""
    values = {**user._asdict(), "id": id_, "now": now, "free_since": now - pause}
    return (await connection.execute(_BEGIN_TEST, values)).rowcount == 1


def _subscription(row: Row[Any]) -> StoredSubscription:
    return StoredSubscription(row.partner_id, row.id, row.user_id, row.name, row.service, row.sealed, row.created_at)
