"""Forgetting in small batches, each statement by an index on what grows old."""

from __future__ import annotations

from datetime import datetime

from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.statement import INSTANT, SMALL, statement

_BATCH = 1_000


def _forget(table: str, column: str, more: str = "") -> str:
    return (
        f"DELETE FROM {table} WHERE ctid IN"  # noqa: S608 - constants of our own
        f" (SELECT ctid FROM {table} WHERE {column} < :before{more} ORDER BY {column} LIMIT {_BATCH})"
    )


#: What is forgotten, by name: notifications_created, deliveries_created, ... are the indexes. Deliveries that wait
#: are never forgotten; attempts go with their delivery, deliveries with their notification.
FORGET = {
    name: statement(words, before=INSTANT)
    for name, words in {
        "notifications": _forget("notifications", "created_at"),
        "deliveries": _forget("deliveries", "created_at", " AND due_at IS NULL"),
        "receipts": _forget("receipts", "received_at"),
        "callbacks": _forget("callbacks", "received_at"),
        "idempotency_keys": _forget("idempotency_keys", "at"),
        "counters": _forget("counters", "hour"),
        "ledger_minutes": _forget("ledger_minutes", "minute"),
        "mailbox": _forget("mailbox", "created_at"),
        "dead_letters": _forget("dead_letters", "at"),
        "verifications": _forget("verifications", "started_at"),
        "verification_counts": _forget("verification_counts", "day"),
        # Secrets that sign no longer: their last day is over.
        "webhook_secrets": _forget("webhook_secrets", "valid_until"),
        "breakers": _forget(
            "breakers", "since", " AND state = 'closed' AND (paused_until IS NULL OR paused_until < :before)"
        ),
    }.items()
}

# Index notifications_created. Users' inboxes are locked in key order; a hidden one was unread or not.
_ARCHIVE = statement(
    """
WITH old AS (
  SELECT partner_id, id, user_id, row_number() OVER (PARTITION BY partner_id, user_id ORDER BY version) AS place
    FROM (SELECT * FROM notifications
           WHERE created_at < :before AND deleted_at IS NULL ORDER BY created_at LIMIT :batch) oldest
), boxes AS (
  SELECT u.partner_id, u.user_id, u.version FROM unread u
   WHERE (u.partner_id, u.user_id) IN (SELECT partner_id, user_id FROM old)
   ORDER BY u.partner_id, u.user_id FOR NO KEY UPDATE
), hidden AS (
  UPDATE notifications n SET deleted_at = :now, version = b.version + o.place
    FROM old o JOIN boxes b ON b.partner_id = o.partner_id AND b.user_id = o.user_id
   WHERE n.partner_id = o.partner_id AND n.id = o.id AND n.deleted_at IS NULL
  RETURNING n.partner_id, n.user_id, o.place, n.read_at IS NULL AS was_unread
), raised AS (
  UPDATE unread u SET version = u.version + h.places, count = u.count - h.unread
    FROM (SELECT partner_id, user_id, max(place) AS places, count(*) FILTER (WHERE was_unread) AS unread
            FROM hidden GROUP BY 1, 2) h
   WHERE u.partner_id = h.partner_id AND u.user_id = h.user_id
)
SELECT count(*) FROM hidden
""",
    before=INSTANT,
    now=INSTANT,
    batch=SMALL,
)


async def forget(connection: Connection, what: str, before: datetime) -> bool:
    """Delete one batch of what is older; whether there may be more."""
    return (await connection.execute(FORGET[what], {"before": before})).rowcount == _BATCH


async def archive(connection: Connection, before: datetime, now: datetime) -> int:
    """Hide one batch of old notifications from their inboxes; how many there were."""
    return int(await connection.scalar(_ARCHIVE, {"before": before, "now": now, "batch": _BATCH}) or 0)
