"""The `unread` rows: a user's count of unread notifications and the version that every change of the inbox raises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.statement import BIG, RowSet, statement


class Inbox(NamedTuple):
    """A user's row."""

    unread: int
    version: int


_USERS = RowSet("k", partner_id=BIG, user_id=BIG)

# Primary key; rows are locked in key order. DO UPDATE locks rows that exist, where DO NOTHING would not.
_LOCK = statement(
    f"""
INSERT INTO unread AS u (partner_id, user_id, count, version)
SELECT k.partner_id, k.user_id, 0, 0 FROM {_USERS} ORDER BY k.partner_id, k.user_id
ON CONFLICT (partner_id, user_id) DO UPDATE SET count = u.count
RETURNING u.partner_id, u.user_id, u.count AS unread, u.version
""",  # noqa: S608 - the row set is of our own making
    _USERS,
)

_RAISED = RowSet("x", partner_id=BIG, user_id=BIG, more=BIG, version=BIG)

# Primary key; the rows are locked already.
_RAISE = statement(
    f"""
UPDATE unread u SET count = u.count + x.more, version = x.version
  FROM {_RAISED}
 WHERE u.partner_id = x.partner_id AND u.user_id = x.user_id
""",  # noqa: S608 - the row set is of our own making
    _RAISED,
)

_READ = statement("SELECT count AS unread, version FROM unread WHERE partner_id = :partner_id AND user_id = :user_id")


async def lock_inboxes(connection: Connection, users: Sequence[UserKey]) -> Mapping[UserKey, Inbox]:
    """Lock these users' inboxes until the transaction ends, and answer how they stand."""
    rows = await connection.execute(_LOCK, _USERS.filled(sorted(set(users))))
    return {UserKey(row.partner_id, row.user_id): Inbox(row.unread, row.version) for row in rows}


async def raise_inboxes(connection: Connection, raised: Sequence[tuple[UserKey, int, int]]) -> None:
    """Per user: how many more unread (negative: fewer), and the version reached. The rows are locked."""
    if raised:
        await connection.execute(_RAISE, _RAISED.filled([(*user, more, version) for user, more, version in raised]))


async def inbox_of(connection: Connection, user: UserKey) -> Inbox:
    """How a user's inbox stands; without a row nothing ever came."""
    row = (await connection.execute(_READ, {"partner_id": user.partner_id, "user_id": user.user_id})).one_or_none()
    return Inbox(0, 0) if row is None else Inbox(row.unread, row.version)
