"""Deliveries as operators see them, and trying them again."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from tocsin_dispatcher.keys import DeliveryKey, UserKey
from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.conditions import UNTOLD
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.history import noting
from tocsin_dispatcher.store.notifications import Place
from tocsin_dispatcher.store.statement import BIG, INSTANT, SMALL, TEXT, UUID_, statement
from tocsin_dispatcher.values import Channel, OutcomeKind, Purpose, WorkClass


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which deliveries to list; None does not filter."""

    partner_id: int | None = None
    user_id: int | None = None
    notification_id: UUID | None = None
    channel: Channel | None = None
    status: DeliveryState | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class EndedBadly:
    """Which failed and expired deliveries are meant; None does not filter."""

    since: datetime
    until: datetime
    partner_id: int | None = None
    channel: Channel | None = None
    status: DeliveryState | None = None
    provider: str | None = None
    error: str | None = None
    """Words in what was last said of it."""


@dataclass(frozen=True, slots=True)
class StoredAttempt:
    """A call as its row stands; `outcome` None while it is under way."""

    number: int
    provider: str
    credential: str
    started_at: datetime
    finished_at: datetime | None
    outcome: OutcomeKind | None
    status_code: int | None
    code: str | None
    answer: str | None
    possible_duplicate: bool


@dataclass(frozen=True, slots=True)
class StoredDelivery:
    """A delivery as its row stands."""

    id: UUID
    partner_id: int
    user_id: int
    purpose: Purpose
    notification_id: UUID | None
    channel: Channel
    destination: str | None
    work_class: WorkClass
    status: DeliveryState
    reason: Reason | None
    due_at: datetime | None
    expires_at: datetime
    attempt: int
    failures: int
    merged_into: UUID | None
    provider: str | None
    provider_id: str | None
    error: str | None
    segments: int | None
    cost: Decimal | None
    created_at: datetime
    sent_at: datetime | None
    delivered_at: datetime | None
    failed_at: datetime | None


# Index deliveries_of_user where a user is named, else deliveries_created.
_LIST = statement(
    """
SELECT d.* FROM deliveries d
 WHERE (CAST(:partner_id AS bigint) IS NULL OR d.partner_id = :partner_id)
   AND (CAST(:user_id AS bigint) IS NULL OR d.user_id = :user_id)
   AND (CAST(:notification_id AS uuid) IS NULL OR d.notification_id = :notification_id)
   AND (CAST(:channel AS text) IS NULL OR d.channel = :channel)
   AND (CAST(:status AS text) IS NULL OR d.status = :status)
   AND (CAST(:reason AS text) IS NULL OR d.reason = :reason)
   AND (CAST(:after_at AS timestamptz) IS NULL OR (d.created_at, d.id) < (:after_at, :after_id))
 ORDER BY d.created_at DESC, d.id DESC
 LIMIT :size
""",
    partner_id=BIG,
    user_id=BIG,
    notification_id=UUID_,
    channel=TEXT,
    status=TEXT,
    reason=TEXT,
    after_at=INSTANT,
    after_id=UUID_,
    size=SMALL,
)

# Primary key.
_GET = statement(
    "SELECT d.* FROM deliveries d WHERE d.partner_id = :partner_id AND d.id = :id", partner_id=BIG, id=UUID_
)

# Primary key.
_ATTEMPTS = statement(
    "SELECT * FROM attempts WHERE partner_id = :partner_id AND delivery_id = :id ORDER BY number",
    partner_id=BIG,
    id=UUID_,
)

# Primary key. Should another delivery tell its fact by now, this one gives up the key, and the gate looks at that one.
# A code that nobody got is too old by now: another is asked for. What a digest told was taken up again when it ended.
_RETRY = statement(
    f"""
WITH retried AS (
  UPDATE deliveries d
     SET status = 'pending', reason = NULL, due_at = :now, failed_at = NULL, failures = 0,
         repeated_after_unknown = false,
         expires_at = CASE WHEN d.status = 'expired' OR d.expires_at <= :now THEN :expires_at ELSE d.expires_at END,
         fact_key = CASE WHEN EXISTS (
             SELECT 1 FROM deliveries o
              WHERE o.partner_id = d.partner_id AND o.user_id = d.user_id AND o.channel = d.channel
                AND o.destination_id IS NOT DISTINCT FROM d.destination_id
                AND o.fact_key = d.fact_key AND o.fact_key IS NOT NULL AND o.id <> d.id
                AND o.status NOT IN {UNTOLD}) THEN NULL ELSE d.fact_key END
   WHERE d.partner_id = :partner_id AND d.id = :id AND d.status IN ('failed', 'expired')
     AND d.purpose NOT IN ('verification', 'digest')
  RETURNING d.*, 'retried' AS happening, CAST(NULL AS timestamptz) AS until, CAST(NULL AS uuid) AS joined_id
), noted AS (
  {noting("retried")}
)
SELECT * FROM retried
""",  # noqa: S608 - names of our own
    partner_id=BIG,
    id=UUID_,
    now=INSTANT,
    expires_at=INSTANT,
)

# Index deliveries_ended_badly.
_ENDED_BADLY = statement(
    """
SELECT d.partner_id, d.id, d.user_id FROM deliveries d
 WHERE d.status IN ('failed', 'expired') AND d.failed_at >= :since AND d.failed_at < :until
   AND d.purpose NOT IN ('verification', 'digest')
   AND (CAST(:partner_id AS bigint) IS NULL OR d.partner_id = :partner_id)
   AND (CAST(:channel AS text) IS NULL OR d.channel = :channel)
   AND (CAST(:status AS text) IS NULL OR d.status = :status)
   AND (CAST(:provider AS text) IS NULL OR d.provider = :provider)
   AND (CAST(:error AS text) IS NULL OR strpos(lower(d.error), lower(:error)) > 0)
 ORDER BY d.failed_at
 LIMIT :size
""",
    since=INSTANT,
    until=INSTANT,
    partner_id=BIG,
    channel=TEXT,
    status=TEXT,
    provider=TEXT,
    error=TEXT,
    size=SMALL,
)

_NOTE = statement(
    """
INSERT INTO audit_log (id, at, subject, action, partner_id, object)
VALUES (:id, :now, :subject, :action, :partner_id, :object)
""",
    id=UUID_,
    now=INSTANT,
    subject=TEXT,
    action=TEXT,
    partner_id=BIG,
    object=TEXT,
)


async def list_deliveries(
    connection: Connection, wanted: Wanted, size: int, after: Place | None
) -> list[StoredDelivery]:
    """A page of rows, newest first."""
    values = {
        "partner_id": wanted.partner_id,
        "user_id": wanted.user_id,
        "notification_id": wanted.notification_id,
        "channel": wanted.channel,
        "status": wanted.status,
        "reason": wanted.reason,
        "after_at": after and after.created_at,
        "after_id": after and after.id,
        "size": size,
    }
    return [delivery_of_row(row) for row in await connection.execute(_LIST, values)]


async def get_delivery(connection: Connection, key: DeliveryKey) -> tuple[StoredDelivery, list[StoredAttempt]] | None:
    """A delivery and its attempts, oldest first."""
    row = (await connection.execute(_GET, key._asdict())).one_or_none()
    if row is None:
        return None
    return delivery_of_row(row), [attempt_of_row(one) for one in await connection.execute(_ATTEMPTS, key._asdict())]


async def retry_delivery(
    connection: Connection, key: DeliveryKey, now: datetime, expires_at: datetime
) -> StoredDelivery | None:
    """Make a failed or expired delivery due again; None when it is neither, or brings a code or a digest. Expired ones
    get `expires_at`. Its user's inbox is locked."""
    values = {**key._asdict(), "now": now, "expires_at": expires_at}
    row = (await connection.execute(_RETRY, values)).one_or_none()
    return None if row is None else delivery_of_row(row)


async def ended_badly(connection: Connection, wanted: EndedBadly, size: int) -> list[tuple[DeliveryKey, UserKey]]:
    """The first of those that fit, by when they ended, each with whose it is."""
    rows = await connection.execute(_ENDED_BADLY, {**asdict(wanted), "size": size})
    return [(DeliveryKey(row.partner_id, row.id), UserKey(row.partner_id, row.user_id)) for row in rows]


async def note(
    connection: Connection, id_: UUID, now: datetime, subject: str, action: str, partner_id: int | None, about: str
) -> None:
    """Write an operator's action to the audit log."""
    values = {"id": id_, "now": now, "subject": subject, "action": action, "partner_id": partner_id, "object": about}
    await connection.execute(_NOTE, values)


def delivery_of_row(row: Row[Any]) -> StoredDelivery:
    """The delivery in a row with all its columns."""
    return StoredDelivery(
        id=row.id,
        partner_id=row.partner_id,
        user_id=row.user_id,
        purpose=Purpose(row.purpose),
        notification_id=row.notification_id,
        channel=Channel(row.channel),
        destination=row.destination,
        work_class=WorkClass(getattr(row, "class")),
        status=DeliveryState(row.status),
        reason=None if row.reason is None else Reason(row.reason),
        due_at=row.due_at,
        expires_at=row.expires_at,
        attempt=row.attempt,
        failures=row.failures,
        merged_into=row.merged_into,
        provider=row.provider,
        provider_id=row.provider_id,
        error=row.error,
        segments=row.segments,
        cost=row.cost,
        created_at=row.created_at,
        sent_at=row.sent_at,
        delivered_at=row.delivered_at,
        failed_at=row.failed_at,
    )


def attempt_of_row(row: Row[Any]) -> StoredAttempt:
    """The attempt in a row with all its columns."""
    return StoredAttempt(
        number=row.number,
        provider=row.provider,
        credential=row.credential,
        started_at=row.started_at,
        finished_at=row.finished_at,
        outcome=None if row.outcome is None else OutcomeKind(row.outcome),
        status_code=row.status_code,
        code=row.code,
        answer=row.answer,
        possible_duplicate=row.possible_duplicate,
    )
