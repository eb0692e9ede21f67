"""The local mailbox's messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.notifications import Place
from tocsin_dispatcher.store.statement import BIG, INSTANT, SMALL, TEXT, UUID_, statement
from tocsin_dispatcher.values import Attempt, Channel, MailboxEntry


@dataclass(frozen=True, slots=True)
class Kept:
    """A message as it lies in the mailbox."""

    id: UUID
    partner_id: int
    user_id: int
    delivery_id: UUID
    attempt: int
    entry: MailboxEntry
    created_at: datetime


# Index mailbox_once; the delivery's primary key tells the user.
_KEEP = statement(
    """
INSERT INTO mailbox (id, partner_id, user_id, delivery_id, attempt, channel, destination, subject, text, html,
                     created_at)
SELECT :id, d.partner_id, d.user_id, d.id, :attempt, :channel, :destination, :subject, :text, :html, :now
  FROM deliveries d WHERE d.partner_id = :partner_id AND d.id = :delivery_id
ON CONFLICT (partner_id, delivery_id, attempt) DO NOTHING
""",
    id=UUID_,
    partner_id=BIG,
    delivery_id=UUID_,
    attempt=SMALL,
    channel=TEXT,
    destination=TEXT,
    subject=TEXT,
    text=TEXT,
    html=TEXT,
    now=INSTANT,
)

# Index mailbox_created.
_LIST = statement(
    """
SELECT id, partner_id, user_id, delivery_id, attempt, channel, destination, subject, text, html, created_at
  FROM mailbox
 WHERE (:partner_id = 0 OR partner_id = :partner_id) AND (:user_id = 0 OR user_id = :user_id)
   AND (CAST(:channel AS text) IS NULL OR channel = :channel)
   AND (CAST(:after_at AS timestamptz) IS NULL OR (created_at, id) < (:after_at, :after_id))
 ORDER BY created_at DESC, id DESC LIMIT :size
""",
    partner_id=BIG,
    user_id=BIG,
    channel=TEXT,
    after_at=INSTANT,
    after_id=UUID_,
    size=SMALL,
)


async def keep(connection: Connection, id_: UUID, entry: MailboxEntry, attempt: Attempt, now: datetime) -> None:
    """Store an entry; the same attempt twice is one."""
    await connection.execute(
        _KEEP,
        {
            "id": id_,
            "partner_id": attempt.partner_id,
            "delivery_id": attempt.delivery_id,
            "attempt": attempt.number,
            "channel": entry.channel,
            "destination": entry.destination,
            "subject": entry.subject,
            "text": entry.text,
            "html": entry.html,
            "now": now,
        },
    )


async def list_mailbox(
    connection: Connection, partner_id: int, user_id: int, channel: Channel | None, size: int, after: Place | None
) -> Sequence[Kept]:
    """A page, newest first; 0 is every partner, every user."""
    values = {
        "partner_id": partner_id,
        "user_id": user_id,
        "channel": channel,
        "after_at": after and after.created_at,
        "after_id": after and after.id,
        "size": size,
    }
    return [
        Kept(
            row.id,
            row.partner_id,
            row.user_id,
            row.delivery_id,
            row.attempt,
            MailboxEntry(Channel(row.channel), row.destination, row.subject, row.text, row.html),
            row.created_at,
        )
        for row in await connection.execute(_LIST, values)
    ]
