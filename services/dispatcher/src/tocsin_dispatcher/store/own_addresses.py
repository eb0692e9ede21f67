"""Where users' push messages and webhooks go, read for whole batches: at intake, at the gate, and when one has gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.statement import BIG, INSTANT, UUID_, RowSet, statement
from tocsin_dispatcher.values import AlertKind, Channel, EndpointTaking, OwnAddresses, PushSubscription

_USERS = RowSet("k", partner_id=BIG, user_id=BIG)

# Indexes push_subscriptions_of_user and webhook_endpoints_of_user; the bank's own endpoints lie there under no user.
_OF_USERS = statement(
    f"""
SELECT k.partner_id, k.user_id, s.created_at, s.id, true AS is_push, false AS is_partners, NULL::text[] AS kinds,
       false AS is_disabled
  FROM {_USERS}
  JOIN push_subscriptions s ON s.partner_id = k.partner_id AND s.user_id = k.user_id
 UNION ALL
SELECT k.partner_id, k.user_id, w.created_at, w.id, false, false, w.kinds, w.disabled_at IS NOT NULL
  FROM {_USERS}
  JOIN webhook_endpoints w ON w.partner_id = k.partner_id AND w.user_id = k.user_id
 UNION ALL
SELECT p.partner_id, NULL, w.created_at, w.id, false, true, w.kinds, w.disabled_at IS NOT NULL
  FROM (SELECT DISTINCT k.partner_id FROM {_USERS}) p
  JOIN webhook_endpoints w ON w.partner_id = p.partner_id AND w.user_id IS NULL
 ORDER BY created_at, id
""",  # noqa: S608 - the row set is of our own making
    _USERS,
)

_SUBSCRIPTIONS = RowSet("k", partner_id=BIG, id=UUID_, user_id=BIG)

# Primary key.
_READ_SUBSCRIPTIONS = statement(
    f"""
SELECT s.partner_id, s.id, s.service, s.sealed
  FROM {_SUBSCRIPTIONS}
  JOIN push_subscriptions s ON s.partner_id = k.partner_id AND s.id = k.id AND s.user_id = k.user_id
""",  # noqa: S608 - the row set is of our own making
    _SUBSCRIPTIONS,
)

_ENDPOINTS = RowSet("k", partner_id=BIG, id=UUID_)

# Primary keys of both.
_READ_ENDPOINTS = statement(
    f"""
SELECT w.partner_id, w.id, w.user_id, w.url, w.shown, w.disabled_at,
       (SELECT array_agg(s.sealed ORDER BY s.valid_until DESC NULLS FIRST) FROM webhook_secrets s
         WHERE s.partner_id = w.partner_id AND s.endpoint_id = w.id
           AND (s.valid_until IS NULL OR s.valid_until > :now)) AS secrets
  FROM {_ENDPOINTS}
  JOIN webhook_endpoints w ON w.partner_id = k.partner_id AND w.id = k.id
""",  # noqa: S608 - the row set is of our own making
    _ENDPOINTS,
    now=INSTANT,
)

# Primary key. Rows in order, after any deliveries.
_REMOVE_SUBSCRIPTIONS = statement(
    f"""
DELETE FROM push_subscriptions s
 WHERE (s.partner_id, s.id) IN (SELECT l.partner_id, l.id FROM push_subscriptions l JOIN {_ENDPOINTS}
                                    ON l.partner_id = k.partner_id AND l.id = k.id
                                 ORDER BY l.partner_id, l.id FOR UPDATE OF l)
""",  # noqa: S608 - the row set is of our own making
    _ENDPOINTS,
)

# The same.
_DISABLE_ENDPOINTS = statement(
    f"""
UPDATE webhook_endpoints w SET disabled_at = :now
 WHERE w.disabled_at IS NULL
   AND (w.partner_id, w.id) IN (SELECT l.partner_id, l.id FROM webhook_endpoints l JOIN {_ENDPOINTS}
                                    ON l.partner_id = k.partner_id AND l.id = k.id
                                 ORDER BY l.partner_id, l.id FOR NO KEY UPDATE OF l)
""",  # noqa: S608 - the row set is of our own making
    _ENDPOINTS,
    now=INSTANT,
)


class AddressId(NamedTuple):
    """A push subscription or a webhook endpoint of a partner."""

    partner_id: int
    id: UUID


@dataclass(frozen=True, slots=True)
class StoredEndpoint:
    """A webhook endpoint as its row stands, and the secrets that sign now, the newest first."""

    partner_id: int
    id: UUID
    user_id: int | None
    url: str
    shown: str
    is_disabled: bool
    sealed_secrets: tuple[bytes, ...]


async def addresses_of(connection: Connection, users: Iterable[UserKey]) -> Mapping[UserKey, OwnAddresses]:
    """Each user's, the oldest first, with the endpoints of their bank."""
    wanted = sorted(set(users))
    browsers: dict[UserKey, list[UUID]] = {user: [] for user in wanted}
    endpoints: dict[UserKey, list[EndpointTaking]] = {user: [] for user in wanted}
    banks: dict[int, list[EndpointTaking]] = {user.partner_id: [] for user in wanted}
    for row in await connection.execute(_OF_USERS, _USERS.filled(wanted)):
        if row.is_push:
            browsers[UserKey(row.partner_id, row.user_id)].append(row.id)
            continue
        kinds = frozenset(AlertKind(kind) for kind in row.kinds)
        taking = EndpointTaking(row.id, row.is_partners, kinds, row.is_disabled)
        owner = banks[row.partner_id] if row.is_partners else endpoints[UserKey(row.partner_id, row.user_id)]
        owner.append(taking)
    return {user: OwnAddresses(tuple(browsers[user]), (*endpoints[user], *banks[user.partner_id])) for user in wanted}


async def subscriptions(
    connection: Connection, keys: Iterable[tuple[int, UUID, int]]
) -> Mapping[AddressId, PushSubscription]:
    """Those that are there still, by (partner, id, user)."""
    rows = await connection.execute(_READ_SUBSCRIPTIONS, _SUBSCRIPTIONS.filled(sorted(set(keys))))
    return {
        AddressId(row.partner_id, row.id): PushSubscription(row.partner_id, row.id, row.service, row.sealed)
        for row in rows
    }


async def endpoints(
    connection: Connection, keys: Iterable[AddressId], now: datetime
) -> Mapping[AddressId, StoredEndpoint]:
    """Those that are there still, disabled or not."""
    rows = await connection.execute(_READ_ENDPOINTS, {**_ENDPOINTS.filled(sorted(set(keys))), "now": now})
    return {
        AddressId(row.partner_id, row.id): StoredEndpoint(
            row.partner_id,
            row.id,
            row.user_id,
            row.url,
            row.shown,
            row.disabled_at is not None,
            tuple(row.secrets or ()),
        )
        for row in rows
    }


async def end_addresses(connection: Connection, channel: Channel, gone: Sequence[AddressId], now: datetime) -> None:
    """Nothing is taken there any more: browsers are removed, webhook endpoints disabled."""
    if not gone:
        return
    keys = _ENDPOINTS.filled(sorted(set(gone)))
    if channel is Channel.PUSH:
        await connection.execute(_REMOVE_SUBSCRIPTIONS, keys)
    else:
        await connection.execute(_DISABLE_ENDPOINTS, {**keys, "now": now})
