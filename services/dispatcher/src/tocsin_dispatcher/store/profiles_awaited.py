"""Releasing what was held for a profile that has arrived now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.statement import BIG, INSTANT, RowSet, statement
from tocsin_dispatcher.values import Channel

_ARRIVED = RowSet("k", partner_id=BIG, user_id=BIG)

# Index deliveries_awaiting_profile. The users' inboxes are locked, so no intake writes such rows meanwhile.
_RELEASE = statement(
    f"""
UPDATE deliveries d SET due_at = :now
  FROM {_ARRIVED}
  JOIN contacts c ON c.partner_id = k.partner_id AND c.user_id = k.user_id,
       notifications n
 WHERE d.partner_id = k.partner_id AND d.user_id = k.user_id
   AND d.status = 'held' AND d.reason = 'profile_awaited' AND d.due_at > :now AND d.leased_until IS NULL
   AND n.partner_id = d.partner_id AND n.id = d.notification_id AND n.profile_version <= c.version
RETURNING d.channel
""",  # noqa: S608 - the row set is of our own making
    _ARRIVED,
    now=INSTANT,
)


async def release_awaiting(connection: Connection, users: Sequence[UserKey], now: datetime) -> frozenset[Channel]:
    """Make due what waited for the profile these users have now; answers the channels that have work."""
    released = await connection.execute(_RELEASE, {**_ARRIVED.filled(users), "now": now})
    return frozenset(Channel(channel) for channel in released.scalars())
