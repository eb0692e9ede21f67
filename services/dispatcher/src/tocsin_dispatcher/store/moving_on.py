"""Deliveries that wait to try a provider again, while another one takes them now."""

from __future__ import annotations

from datetime import datetime, timedelta

from tocsin_dispatcher.store.conditions import WAITING
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.statement import INSTANT, TEXT, statement
from tocsin_dispatcher.values import Channel, WorkClass

_LONGEST_PAUSE = timedelta(minutes=7)
"""Longer than any pause between retries on a channel with several providers (5 min, and a quarter)."""
_AT_ONCE = 5000
_CLASSES = ", ".join(f"'{one}'" for one in WorkClass)

# Index deliveries_due, the next minutes of each class. What somebody has claimed or locked is on its way anyway: it is
# skipped, so that this waits for nobody, in whatever order. Once for each time that a breaker opens.
_BRING_FORWARD = statement(
    f"""
UPDATE deliveries AS d SET due_at = :now
  FROM (SELECT w.partner_id, w.id FROM deliveries w
         WHERE w.channel = :channel AND w.class IN ({_CLASSES}) AND w.due_at > :now AND w.due_at < :until AND {WAITING}
           AND w.status = 'retrying' AND w.provider = :provider AND w.leased_until IS NULL
         ORDER BY w.partner_id, w.id LIMIT {_AT_ONCE}
           FOR UPDATE SKIP LOCKED) waiting
 WHERE d.partner_id = waiting.partner_id AND d.id = waiting.id
""",  # noqa: S608 - constants of our own
    channel=TEXT,
    provider=TEXT,
    now=INSTANT,
    until=INSTANT,
)


async def bring_forward(connection: Connection, channel: Channel, provider: str, now: datetime) -> None:
    """Those that wait to try this provider again are due now."""
    until = now + _LONGEST_PAUSE
    await connection.execute(_BRING_FORWARD, {"channel": channel, "provider": provider, "now": now, "until": until})
