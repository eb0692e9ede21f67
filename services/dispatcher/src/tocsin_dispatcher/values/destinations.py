"""Where push messages and webhooks go: addresses that a person, or a bank, can have several of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from tocsin_dispatcher.values.firing import AlertKind


@dataclass(frozen=True, slots=True)
class PushSubscription:
    """A browser that gets a user's push messages."""

    partner_id: int
    id: UUID
    service: str
    """The push service's host: what a breaker guards, and all that may be shown."""
    sealed: bytes = field(repr=False)
    """The URL at the push service and the browser's keys (`sealing.py`)."""

    @property
    def breaker(self) -> str:
        """What one breaker guards: all browsers of a push service fail together."""
        return self.service

    @property
    def shown(self) -> str:
        """As `deliveries.destination` stores it."""
        return self.service

    @property
    def is_disabled(self) -> bool:
        """Never: one that has gone is removed."""
        return False


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """A user's or a bank's address for webhooks, and what this delivery brings it."""

    partner_id: int
    id: UUID
    url: str
    shown: str
    """The URL without path and query, as `deliveries.destination` stores it."""
    is_disabled: bool
    """It answered 410, and nothing is sent to it."""
    sealed_secrets: tuple[bytes, ...] = field(repr=False)
    """Those that sign now, the newest first (`sealing.py`)."""
    body: bytes = field(repr=False)
    """The event in JSON, as the webhook brings it."""

    @property
    def breaker(self) -> str:
        """What one breaker guards: this endpoint alone."""
        return str(self.id)


Destination = PushSubscription | WebhookEndpoint


@dataclass(frozen=True, slots=True)
class EndpointTaking:
    """A webhook endpoint, and what it is to get."""

    id: UUID
    is_partners: bool
    """A bank's gets the notifications of all its users; a user's those whose alert asks for webhooks."""
    kinds: frozenset[AlertKind]
    """Empty: every kind."""
    is_disabled: bool

    def takes(self, kind: AlertKind) -> bool:
        """Whether it gets notifications of this kind."""
        return not self.kinds or kind in self.kinds


@dataclass(frozen=True, slots=True)
class OwnAddresses:
    """The addresses that a user's deliveries may go to, beside those of the profile."""

    push: Sequence[UUID] = ()
    webhooks: Sequence[EndpointTaking] = ()
