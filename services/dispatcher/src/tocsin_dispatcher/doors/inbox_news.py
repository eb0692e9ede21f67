"""INBOX by core NATS: whoever listens hears it, nobody else ever does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import nats.errors

from tocsin_dispatcher.doors.translate import inbox_changed
from tocsin_dispatcher.keys import UserKey
from tocsin_kit.messaging.broker import Broker

#: A broker that is away is not waited for: inboxes are read back from the database on connecting.
_PATIENCE = timedelta(milliseconds=20)


class InboxNews:
    """Tells of inboxes that changed."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def __call__(self, versions: Sequence[tuple[UserKey, int]]) -> None:
        """Each user's inbox stands at the version now."""
        if not versions:
            return
        try:
            client = await self._broker.connection(_PATIENCE)
            for user, version in versions:
                subject = f"tocsin.inbox.{user.partner_id}.{user.user_id}"
                await client.publish(subject, inbox_changed(*user, version))
        except (ConnectionError, nats.errors.Error):
            return
