"""Trials of banks' templates: how many a day, and what each brings."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.statement import BIG, DAY, INSTANT, SMALL, TEXT, UUID_, statement
from tocsin_dispatcher.values import Delivery, Trial

# Primary key. Counts a trial of the day where there are fewer than the limit.
_TAKE_TRIAL = statement(
    """
INSERT INTO template_partners AS p (partner_id, revision, trials_on, trials) VALUES (:partner_id, 0, :day, 1)
ON CONFLICT (partner_id) DO UPDATE
   SET trials_on = :day, trials = CASE WHEN p.trials_on = :day THEN p.trials + 1 ELSE 1 END
 WHERE p.trials_on IS DISTINCT FROM :day OR p.trials < :limit
RETURNING partner_id
""",
    partner_id=BIG,
    day=DAY,
    limit=SMALL,
)

# Primary keys. Its token counts as taken: a trial costs the person none.
_INSERT_TRIAL = statement(
    """
WITH delivery AS (
  INSERT INTO deliveries (partner_id, id, purpose, user_id, channel, class, status, due_at, token_taken, expires_at,
                          created_at)
  VALUES (:partner_id, :id, 'test', :user_id, :channel, :lane, 'pending', :now, true, :expires_at, :now)
)
INSERT INTO template_trials (partner_id, delivery_id, template_id, kind, subject, body, html)
VALUES (:partner_id, :id, :template_id, :kind, :subject, :body, :html)
""",
    partner_id=BIG,
    id=UUID_,
    user_id=BIG,
    channel=TEXT,
    lane=TEXT,
    now=INSTANT,
    expires_at=INSTANT,
    template_id=UUID_,
    kind=TEXT,
    subject=TEXT,
    body=TEXT,
    html=TEXT,
)


async def take_trial(connection: Connection, partner_id: int, day: date, limit: int) -> bool:
    """Count a trial of that day; False where there were as many as the limit."""
    taken = await connection.execute(_TAKE_TRIAL, {"partner_id": partner_id, "day": day, "limit": limit})
    return taken.one_or_none() is not None


async def insert_trial(connection: Connection, delivery: Delivery, template_id: UUID, trial: Trial) -> None:
    """Plan the delivery of a trial, and keep the texts that it brings."""
    values = {
        "partner_id": delivery.partner_id,
        "id": delivery.id,
        "user_id": delivery.user_id,
        "channel": delivery.channel,
        "lane": delivery.work_class,
        "now": delivery.created_at,
        "expires_at": delivery.expires_at,
        "template_id": template_id,
        "kind": trial.kind,
        "subject": trial.subject,
        "body": trial.text,
        "html": trial.html,
    }
    await connection.execute(_INSERT_TRIAL, values)
