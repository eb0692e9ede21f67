"""Where a batch of deliveries goes, read before their attempts: what was removed meanwhile is not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tocsin_dispatcher.keys import DeliveryKey, UserKey
from tocsin_dispatcher.store.claims import Claimed
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.notifications import InboxNotification, notifications_told
from tocsin_dispatcher.store.own_addresses import AddressId, StoredEndpoint, endpoints, subscriptions
from tocsin_dispatcher.values import Destination, WebhookEndpoint

#: The body of the webhook that tells a user's notification. Bytes are none of our business here.
EncodeEvent = Callable[[UserKey, InboxNotification], bytes]


async def browsers_of(
    connection: Connection, claims: Sequence[Claimed], now: datetime
) -> Mapping[DeliveryKey, Destination]:
    """The push subscriptions that deliveries go to."""
    addressed = _addressed(claims)
    users = {one.key: one.delivery.user_id for one in claims}
    found = await subscriptions(connection, [(*address, users[key]) for key, address in addressed.items()])
    return {key: found[address] for key, address in addressed.items() if address in found}


@dataclass(frozen=True)
class ReadEndpoints:
    """The webhook endpoints that deliveries go to, with the events they bring."""

    encode: EncodeEvent

    async def __call__(
        self, connection: Connection, claims: Sequence[Claimed], now: datetime
    ) -> Mapping[DeliveryKey, Destination]:
        """By delivery."""
        addressed = _addressed(claims)
        found = await endpoints(connection, addressed.values(), now)
        told = await notifications_told(connection, [(one.key.partner_id, one.notification.id) for one in claims])
        made: dict[DeliveryKey, Destination] = {}
        for one in claims:
            endpoint, shown = found.get(addressed[one.key]) if one.key in addressed else None, one.notification.id
            if endpoint is not None and shown in told:
                user = UserKey(one.delivery.partner_id, one.delivery.user_id)
                made[one.key] = endpoint_with(endpoint, self.encode(user, told[shown]))
        return made


def endpoint_with(endpoint: StoredEndpoint, body: bytes) -> WebhookEndpoint:
    """An endpoint, and what is brought to it."""
    return WebhookEndpoint(
        endpoint.partner_id,
        endpoint.id,
        endpoint.url,
        endpoint.shown,
        endpoint.is_disabled,
        endpoint.sealed_secrets,
        body,
    )


def _addressed(claims: Sequence[Claimed]) -> Mapping[DeliveryKey, AddressId]:
    return {
        one.key: AddressId(one.key.partner_id, one.delivery.destination_id)
        for one in claims
        if one.delivery.destination_id is not None
    }
