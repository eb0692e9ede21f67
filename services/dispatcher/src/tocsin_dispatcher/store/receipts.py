"""Receipts: written once per event of the provider, applied when their delivery is known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from tocsin_dispatcher.keys import DeliveryKey, UserKey
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.rows import DELIVERY_COLUMNS, delivery_of
from tocsin_dispatcher.store.statement import BIG, BIGS, INSTANT, SMALL, TEXT, TEXTS, UUID_, UUIDS, RowSet, statement
from tocsin_dispatcher.values import AlertKind, Channel, Delivery, Receipt, ReceiptEffect

_RECEIPTS = RowSet(
    "x",
    provider=TEXT,
    event_key=TEXT,
    event=TEXT,
    partner_id=BIG,
    delivery_id=UUID_,
    attempt=SMALL,
    provider_id=TEXT,
    callback_id=UUID_,
    happened_at=INSTANT,
    received_at=INSTANT,
    details=TEXT,
)

# Primary key: the same event comes once.
_WRITE = statement(
    f"""
INSERT INTO receipts (provider, event_key, event, partner_id, delivery_id, attempt, provider_id, callback_id,
                      happened_at, received_at, details)
SELECT x.provider, x.event_key, x.event, x.partner_id, x.delivery_id, x.attempt, x.provider_id, x.callback_id,
       x.happened_at, x.received_at, CAST(x.details AS jsonb)
  FROM {_RECEIPTS}
 ORDER BY x.provider, x.event_key
ON CONFLICT (provider, event_key) DO NOTHING
RETURNING provider, event_key
""",  # noqa: S608 - the row set is of our own making
    _RECEIPTS,
)

_CALLBACKS = RowSet("x", id=UUID_, provider=TEXT, received_at=INSTANT)

# Primary key.
_KNOW = statement(
    f"""
INSERT INTO callbacks (id, provider, received_at, taken_in_at)
SELECT x.id, x.provider, x.received_at, :now FROM {_CALLBACKS} ORDER BY x.id
ON CONFLICT (id) DO NOTHING
""",  # noqa: S608 - the row set is of our own making
    _CALLBACKS,
    now=INSTANT,
)

# Primary key.
_UNKNOWN = statement("SELECT id FROM callbacks WHERE id = ANY(:ids)", ids=UUIDS)

# Primary key, locked in key order.
_BY_ID = statement(
    f"""
SELECT {DELIVERY_COLUMNS} FROM deliveries d
 WHERE d.partner_id = ANY(:partners) AND d.id = ANY(:ids)
 ORDER BY d.partner_id, d.id FOR NO KEY UPDATE
""",  # noqa: S608 - constants of our own
    partners=BIGS,
    ids=UUIDS,
)

# Index deliveries_of_provider.
_BY_MESSAGE = statement(
    """
SELECT d.partner_id, d.id, d.provider_id FROM deliveries d
 WHERE d.provider = :provider AND d.provider_id = ANY(:provider_ids) AND d.provider_id IS NOT NULL
""",
    provider=TEXT,
    provider_ids=TEXTS,
)

_MOVED = RowSet("x", partner_id=BIG, id=UUID_, status=TEXT, provider_id=TEXT, at=INSTANT, error=TEXT)

# Primary key; the rows are locked and the steps are allowed ones. On the way through `pending` or `sending` the due
# time stays, as the table demands of these states.
_MOVE = statement(
    f"""
UPDATE deliveries d
   SET status = x.status, due_at = CASE WHEN x.status IN ('pending', 'sending') THEN d.due_at END,
       leased_until = NULL, reason = NULL,
       provider_id = coalesce(d.provider_id, x.provider_id),
       error = CASE WHEN x.status NOT IN ('sent', 'delivered') THEN coalesce(x.error, d.error) END,
       sent_at = CASE WHEN x.status IN ('sent', 'delivered') THEN coalesce(d.sent_at, x.at) ELSE d.sent_at END,
       delivered_at = CASE WHEN x.status = 'delivered' THEN x.at ELSE d.delivered_at END,
       failed_at = CASE WHEN x.status IN ('failed', 'bounced') THEN x.at ELSE d.failed_at END
  FROM {_MOVED}
 WHERE d.partner_id = x.partner_id AND d.id = x.id
""",  # noqa: S608 - the row set is of our own making
    _MOVED,
)

_APPLIED = RowSet("x", provider=TEXT, event_key=TEXT, partner_id=BIG, delivery_id=UUID_)

# Primary key.
_APPLY = statement(
    f"""
UPDATE receipts r
   SET applied_at = :now, partner_id = coalesce(x.partner_id, r.partner_id),
       delivery_id = coalesce(x.delivery_id, r.delivery_id)
  FROM {_APPLIED}
 WHERE r.provider = x.provider AND r.event_key = x.event_key
""",  # noqa: S608 - the row set is of our own making
    _APPLIED,
    now=INSTANT,
)

_MESSAGES = RowSet("m", provider=TEXT, provider_id=TEXT)
_STORED = """r.provider, r.event_key, r.event, r.happened_at, r.partner_id, r.delivery_id, r.attempt, r.provider_id,
       r.details ->> 'name' AS name, r.details ->> 'detail' AS detail"""

# Index receipts_waiting: the message's own id, or (SendGrid) the ids that begin with it and a dot ('/' follows '.').
_WAITING = statement(
    f"""
SELECT DISTINCT {_STORED}
  FROM {_MESSAGES}
  JOIN receipts r ON r.provider = m.provider AND r.applied_at IS NULL
       AND (r.provider_id = m.provider_id
            OR r.provider_id ~>=~ (m.provider_id || '.') AND r.provider_id ~<~ (m.provider_id || '/'))
""",  # noqa: S608 - the row set is of our own making
    _MESSAGES,
)

# Index receipts_missed, then deliveries_of_provider by the message's own id and by what precedes each of its dots.
_MISSED = statement(
    f"""
SELECT {_STORED}
  FROM receipts r
 WHERE r.applied_at IS NULL AND r.received_at >= :since
   AND EXISTS (SELECT 1
                 FROM generate_series(1, cardinality(string_to_array(r.provider_id, '.'))) AS p(parts)
                 JOIN deliveries d
                   ON d.provider = r.provider AND d.provider_id IS NOT NULL
                  AND d.provider_id = array_to_string((string_to_array(r.provider_id, '.'))[1:p.parts], '.'))
 ORDER BY r.received_at
 LIMIT :size
""",  # noqa: S608 - constants of our own
    since=INSTANT,
    size=SMALL,
)

# Indexes contacts_by_phone and contacts_by_email.
_PARTNERS = statement(
    """
SELECT a.address, c.partner_id
  FROM unnest(:addresses) AS a(address) JOIN contacts c ON c.phone = a.address
 UNION
SELECT a.address, c.partner_id
  FROM unnest(:addresses) AS a(address) JOIN contacts c ON lower(c.email) = lower(a.address)
 ORDER BY address, partner_id
""",
    addresses=TEXTS,
)

_WHOSE = RowSet("k", partner_id=BIG, user_id=BIG)

# Primary key.
_EMAILS = statement(
    f"""
SELECT k.partner_id, k.user_id, c.email
  FROM {_WHOSE} JOIN contacts c ON c.partner_id = k.partner_id AND c.user_id = k.user_id
 WHERE c.email <> ''
""",  # noqa: S608 - the row set is of our own making
    _WHOSE,
)

# Primary key.
_SWITCH = statement(
    """
INSERT INTO preferences AS p (partner_id, user_id, overrides, updated_at)
VALUES (:partner_id, :user_id, jsonb_build_array(jsonb_build_array(:kind, :channel, false)), :now)
ON CONFLICT (partner_id, user_id) DO UPDATE
   SET overrides = coalesce((SELECT jsonb_agg(o) FROM jsonb_array_elements(p.overrides) o
                              WHERE NOT (o ->> 0 = :kind AND o ->> 1 = :channel)), '[]') || excluded.overrides,
       updated_at = excluded.updated_at
""",
    partner_id=BIG,
    user_id=BIG,
    kind=TEXT,
    channel=TEXT,
    now=INSTANT,
)


async def write_receipts(
    connection: Connection, receipts: Sequence[tuple[Receipt, UUID, datetime]]
) -> frozenset[tuple[str, str]]:
    """Write receipts with their callback's id and arrival; answers (provider, event key) of those that are new."""
    rows = [
        (
            receipt.provider,
            receipt.event_key,
            receipt.effect,
            receipt.partner_id,
            receipt.delivery_id,
            receipt.attempt,
            receipt.message_id,
            callback_id,
            receipt.at,
            received_at,
            json.dumps({"name": receipt.name, "code": receipt.code, "detail": receipt.detail}),
        )
        for receipt, callback_id, received_at in receipts
    ]
    written = await connection.execute(_WRITE, _RECEIPTS.filled(rows))
    return frozenset((row.provider, row.event_key) for row in written)


async def know_callbacks(
    connection: Connection, callbacks: Sequence[tuple[UUID, str, datetime]], now: datetime
) -> None:
    """Remember that these have arrived: id, provider, when the gateway had them."""
    await connection.execute(_KNOW, {**_CALLBACKS.filled(callbacks), "now": now})


async def known_callbacks(connection: Connection, ids: Sequence[UUID]) -> frozenset[UUID]:
    """Which of these have arrived."""
    return frozenset((await connection.execute(_UNKNOWN, {"ids": list(ids)})).scalars())


async def lock_deliveries(connection: Connection, keys: Sequence[DeliveryKey]) -> Mapping[DeliveryKey, Delivery]:
    """These deliveries, locked."""
    if not keys:
        return {}
    partners, ids = sorted({key.partner_id for key in keys}), sorted({key.id for key in keys})
    rows = await connection.execute(_BY_ID, {"partners": partners, "ids": ids})
    return {DeliveryKey(row.partner_id, row.id): delivery_of(row) for row in rows}


async def deliveries_of(
    connection: Connection, provider: str, provider_ids: Sequence[str]
) -> Mapping[str, DeliveryKey]:
    """The deliveries that a provider's messages are, by its id."""
    if not provider_ids:
        return {}
    rows = await connection.execute(_BY_MESSAGE, {"provider": provider, "provider_ids": sorted(set(provider_ids))})
    return {row.provider_id: DeliveryKey(row.partner_id, row.id) for row in rows}


async def move_deliveries(
    connection: Connection, moved: Sequence[tuple[DeliveryKey, DeliveryState, str | None, datetime, str | None]]
) -> None:
    """Each delivery's new state, the provider's id of it, when, and what was said of a failure."""
    if moved:
        rows = [(*key, status, provider_id, at, error) for key, status, provider_id, at, error in moved]
        await connection.execute(_MOVE, _MOVED.filled(rows))


async def mark_applied(
    connection: Connection, applied: Sequence[tuple[str, str, DeliveryKey | None]], now: datetime
) -> None:
    """These receipts have had their effect, on the deliveries named."""
    if applied:
        rows = [(provider, key, *(about or (None, None))) for provider, key, about in applied]
        await connection.execute(_APPLY, {**_APPLIED.filled(rows), "now": now})


async def receipts_waiting(connection: Connection, messages: Sequence[tuple[str, str]]) -> list[Receipt]:
    """What waited for these messages: (provider, the provider's id). What it did to an address is done already."""
    return [_stored(row) for row in await connection.execute(_WAITING, _MESSAGES.filled(messages))]


async def receipts_missed(connection: Connection, since: datetime, size: int) -> list[Receipt]:
    """At most `size` of the receipts that came since then and wait, although their delivery is known now."""
    return [_stored(row) for row in await connection.execute(_MISSED, {"since": since, "size": size})]


async def partners_knowing(connection: Connection, addresses: Iterable[str]) -> Mapping[str, Sequence[int]]:
    """The partners one of whose users has an address, by address."""
    asked = sorted(set(addresses))
    known: dict[str, list[int]] = {address: [] for address in asked}
    for row in await connection.execute(_PARTNERS, {"addresses": asked}) if asked else ():
        known[row.address].append(row.partner_id)
    return known


async def emails_of(connection: Connection, users: Sequence[UserKey]) -> Mapping[UserKey, str]:
    """The e-mail addresses of those of these users who have one."""
    if not users:
        return {}
    rows = await connection.execute(_EMAILS, _WHOSE.filled(sorted(set(users))))
    return {UserKey(row.partner_id, row.user_id): row.email for row in rows}


async def switch_off(connection: Connection, user: UserKey, kind: AlertKind, channel: Channel, now: datetime) -> None:
    """Turn one kind off on a channel in the user's preferences."""
    values = {**user._asdict(), "kind": kind, "channel": channel, "now": now}
    await connection.execute(_SWITCH, values)


def _stored(row: Row[Any]) -> Receipt:
    return Receipt(
        provider=row.provider,
        event_key=row.event_key,
        effect=ReceiptEffect(row.event),
        at=row.happened_at,
        name=row.name or "",
        partner_id=row.partner_id,
        delivery_id=row.delivery_id,
        attempt=row.attempt,
        message_id=row.provider_id,
        detail=row.detail or "",
    )
