"""Webhook endpoints and their secrets, as their owners keep them: a person, or a bank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, TextClause

from tocsin_dispatcher.keys import OwnerKey
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.notifications import Place
from tocsin_dispatcher.store.statement import BIG, BYTES, INSTANT, SMALL, TEXT, TEXTS, UUID_, Parameter, statement
from tocsin_dispatcher.values import AlertKind

_COLUMNS = "w.partner_id, w.id, w.user_id, w.url, w.shown, w.name, w.kinds, w.disabled_at, w.created_at"


@dataclass(frozen=True, slots=True)
class OwnedEndpoint:
    """A webhook endpoint as its owner sees it."""

    partner_id: int
    id: UUID
    user_id: int | None
    url: str
    shown: str
    name: str
    kinds: frozenset[AlertKind]
    disabled_at: datetime | None
    created_at: datetime
    old_secret_valid_until: datetime | None = None


def _owned(sql: str, /, **types: Parameter) -> Mapping[bool, TextClause]:
    """The statement, `{mine}` being the owner's rows: of a person (True), of a bank (False), each by the index."""
    person = statement(
        sql.format(mine="w.partner_id = :partner_id AND w.user_id = :user_id"), partner_id=BIG, user_id=BIG, **types
    )
    bank = statement(
        sql.format(mine="w.partner_id = :partner_id AND w.user_id IS NULL AND CAST(:user_id AS bigint) IS NULL"),
        partner_id=BIG,
        user_id=BIG,
        **types,
    )
    return {True: person, False: bank}


# Index webhook_endpoints_of_user; the primary key of the secrets.
_LIST = _owned(
    f"""
SELECT {_COLUMNS}, (SELECT max(s.valid_until) FROM webhook_secrets s
                     WHERE s.partner_id = w.partner_id AND s.endpoint_id = w.id AND s.valid_until > :now) AS old_until
  FROM webhook_endpoints w
 WHERE {{mine}} AND (CAST(:id AS uuid) IS NULL OR w.id = :id)
   AND (CAST(:after_at AS timestamptz) IS NULL OR (w.created_at, w.id) < (:after_at, :after_id))
 ORDER BY w.created_at DESC, w.id DESC LIMIT :size
""",  # noqa: S608 - constants of our own
    id=UUID_,
    now=INSTANT,
    after_at=INSTANT,
    after_id=UUID_,
    size=SMALL,
)

# Index webhook_endpoints_of_user.
_COUNT = _owned("SELECT count(*) FROM webhook_endpoints w WHERE {mine}")

_INSERT = statement(
    """
INSERT INTO webhook_endpoints (partner_id, id, user_id, url, shown, name, kinds, created_at)
VALUES (:partner_id, :id, :user_id, :url, :shown, :name, :kinds, :created_at)
""",
    partner_id=BIG,
    id=UUID_,
    user_id=BIG,
    url=TEXT,
    shown=TEXT,
    name=TEXT,
    kinds=TEXTS,
    created_at=INSTANT,
)

# Primary key.
_DELETE = _owned("DELETE FROM webhook_endpoints w WHERE {mine} AND w.id = :id", id=UUID_)

# Primary key. Whoever changes the secrets of an endpoint has it locked.
_LOCK = _owned("SELECT w.id FROM webhook_endpoints w WHERE {mine} AND w.id = :id FOR NO KEY UPDATE", id=UUID_)

# Primary key. Two tests at once: one of them begins.
_BEGIN_TEST = _owned(
    """
UPDATE webhook_endpoints w SET tested_at = :now
 WHERE {mine} AND w.id = :id AND (w.tested_at IS NULL OR w.tested_at <= :free_since)
""",
    id=UUID_,
    now=INSTANT,
    free_since=INSTANT,
)

# Primary key.
_ENABLE = statement(
    "UPDATE webhook_endpoints SET disabled_at = NULL WHERE partner_id = :partner_id AND id = :id",
    partner_id=BIG,
    id=UUID_,
)

_ENDPOINT: Mapping[str, Parameter] = {"partner_id": BIG, "endpoint_id": UUID_}
_SECRETS_OF = "partner_id = :partner_id AND endpoint_id = :endpoint_id"

# Primary key; the endpoint is locked. What signs no longer is forgotten.
_FORGET_OLD = statement(
    f"DELETE FROM webhook_secrets WHERE {_SECRETS_OF} AND valid_until <= :now",  # noqa: S608 - constants of our own
    **_ENDPOINT,
    now=INSTANT,
)

# Primary key; the endpoint is locked.
_COUNT_SECRETS = statement(f"SELECT count(*) FROM webhook_secrets WHERE {_SECRETS_OF}", **_ENDPOINT)  # noqa: S608

# Primary key; the endpoint is locked.
_RETIRE = statement(
    f"UPDATE webhook_secrets SET valid_until = :until WHERE {_SECRETS_OF} AND valid_until IS NULL",  # noqa: S608
    **_ENDPOINT,
    until=INSTANT,
)

# Primary key.
_SECRET = statement(
    f"SELECT sealed FROM webhook_secrets WHERE {_SECRETS_OF} AND id = :id",  # noqa: S608 - constants of our own
    **_ENDPOINT,
    id=UUID_,
)

_INSERT_SECRET = statement(
    """
INSERT INTO webhook_secrets (partner_id, endpoint_id, id, sealed, created_at)
VALUES (:partner_id, :endpoint_id, :id, :sealed, :now)
""",
    **_ENDPOINT,
    id=UUID_,
    sealed=BYTES,
    now=INSTANT,
)


async def page(
    connection: Connection, owner: OwnerKey, now: datetime, size: int, after: Place | None
) -> Sequence[OwnedEndpoint]:
    """A page of the owner's, newest first."""
    return await _read(connection, owner, now, None, size, after)


async def get(connection: Connection, owner: OwnerKey, id_: UUID, now: datetime) -> OwnedEndpoint | None:
    """One of the owner's."""
    found = await _read(connection, owner, now, id_, 1, None)
    return found[0] if found else None


async def count(connection: Connection, owner: OwnerKey) -> int:
    """How many the owner has."""
    return int(await connection.scalar(_COUNT[_is_person(owner)], owner._asdict()) or 0)


async def insert(connection: Connection, endpoint: OwnedEndpoint) -> None:
    """Store a new one; it has no secret yet."""
    names = ("partner_id", "id", "user_id", "url", "shown", "name", "created_at")
    values = {name: getattr(endpoint, name) for name in names}
    await connection.execute(_INSERT, {**values, "kinds": sorted(endpoint.kinds)})


async def delete(connection: Connection, owner: OwnerKey, id_: UUID) -> bool:
    """Remove one of the owner's with its secrets; whether there was one."""
    return (await connection.execute(_DELETE[_is_person(owner)], {**owner._asdict(), "id": id_})).rowcount == 1


async def lock(connection: Connection, owner: OwnerKey, id_: UUID) -> bool:
    """Lock one of the owner's; whether there is one."""
    row = (await connection.execute(_LOCK[_is_person(owner)], {**owner._asdict(), "id": id_})).one_or_none()
    return row is not None


async def begin_test(connection: Connection, owner: OwnerKey, id_: UUID, now: datetime, pause: timedelta) -> bool:
    """Note that a test begins; False where the last one was less than `pause` ago, or there is no such endpoint."""
    values = {**owner._asdict(), "id": id_, "now": now, "free_since": now - pause}
    return (await connection.execute(_BEGIN_TEST[_is_person(owner)], values)).rowcount == 1


async def enable(connection: Connection, partner_id: int, id_: UUID) -> None:
    """It is sent webhooks again."""
    await connection.execute(_ENABLE, {"partner_id": partner_id, "id": id_})


async def signing_secrets(connection: Connection, partner_id: int, endpoint_id: UUID, now: datetime) -> int:
    """How many secrets of a locked endpoint sign; those that do no longer are forgotten."""
    endpoint = {"partner_id": partner_id, "endpoint_id": endpoint_id}
    await connection.execute(_FORGET_OLD, {**endpoint, "now": now})
    return int(await connection.scalar(_COUNT_SECRETS, endpoint) or 0)


async def add_secret(
    connection: Connection, partner_id: int, endpoint_id: UUID, id_: UUID, sealed: bytes, now: datetime, old: timedelta
) -> None:
    """Give a locked (or new) endpoint another secret; the one before it signs for `old` longer."""
    endpoint = {"partner_id": partner_id, "endpoint_id": endpoint_id}
    await connection.execute(_RETIRE, {**endpoint, "until": now + old})
    await connection.execute(_INSERT_SECRET, {**endpoint, "id": id_, "sealed": sealed, "now": now})


async def secret(connection: Connection, partner_id: int, endpoint_id: UUID, id_: UUID) -> bytes | None:
    """A secret as its row holds it; None where it is forgotten."""
    found = await connection.scalar(_SECRET, {"partner_id": partner_id, "endpoint_id": endpoint_id, "id": id_})
    return None if found is None else bytes(found)


async def _read(
    connection: Connection, owner: OwnerKey, now: datetime, id_: UUID | None, size: int, after: Place | None
) -> list[OwnedEndpoint]:
    place = {"after_at": after and after.created_at, "after_id": after and after.id}
    values = {**owner._asdict(), **place, "id": id_, "now": now, "size": size}
    return [_endpoint(row) for row in await connection.execute(_LIST[_is_person(owner)], values)]


def _is_person(owner: OwnerKey) -> bool:
    return owner.user_id is not None


def _endpoint(row: Row[Any]) -> OwnedEndpoint:
    return OwnedEndpoint(
        partner_id=row.partner_id,
        id=row.id,
        user_id=row.user_id,
        url=row.url,
        shown=row.shown,
        name=row.name,
        kinds=frozenset(AlertKind(kind) for kind in row.kinds),
        disabled_at=row.disabled_at,
        created_at=row.created_at,
        old_secret_valid_until=row.old_until,
    )
