"""Webhook: the event as REST shows it, to an endpoint whose secrets sign it."""

from datetime import datetime

from tocsin_dispatcher.destinations.webhook_secrets import secrets_of
from tocsin_dispatcher.values import Notification, Recipient, WebhookEndpoint, WebhookMessage
from tocsin_kit.sealing import Seals


class WebhookMedium:
    """Composes webhooks."""

    def __init__(self, seals: Seals) -> None:
        self._seals = seals

    def compose(self, notification: Notification, recipient: Recipient, now: datetime) -> WebhookMessage:
        """The webhook of one attempt. Raises ValueError where it goes to no endpoint, or no secret can be opened."""
        endpoint = recipient.destination
        if not isinstance(endpoint, WebhookEndpoint):
            raise ValueError("a webhook needs an endpoint")
        return message_to(endpoint, self._seals)


def message_to(endpoint: WebhookEndpoint, seals: Seals) -> WebhookMessage:
    """The webhook that an endpoint gets. Raises CannotOpen where no secret can be opened."""
    return WebhookMessage(endpoint.id, endpoint.url, secrets_of(endpoint, seals), endpoint.body)
