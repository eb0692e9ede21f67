"""A channel as the worker sees it: where its messages go, and one call. What is sent is a composer's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

import structlog
from jinja2 import TemplateError

from tocsin_dispatcher.breakers import BreakerKey
from tocsin_dispatcher.channels.medium import Medium
from tocsin_dispatcher.keys import DeliveryKey
from tocsin_dispatcher.providers.provider import DirectProvider, LookUp, Provider
from tocsin_dispatcher.store.claims import Claimed
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.values import (
    Attempt,
    Channel,
    Destination,
    Notification,
    Outcome,
    OutcomeKind,
    Recipient,
    SmsMessage,
    SmsSize,
)

Message = TypeVar("Message")
MessageT_co = TypeVar("MessageT_co", covariant=True)
#: Reads where deliveries go that have addresses of their own, as they stand at an instant.
ReadDestinations = Callable[[Connection, Sequence[Claimed], datetime], Awaitable[Mapping[DeliveryKey, Destination]]]
_NOT_COMPOSED = (TemplateError, ValueError, LookupError, TypeError, ArithmeticError)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a call; `size` is an SMS's."""

    outcome: Outcome
    size: SmsSize | None = None


class Way(Protocol):
    """How messages leave on one channel."""

    @property
    def channel(self) -> Channel:
        """The channel."""
        ...

    @property
    def chain(self) -> Sequence[BreakerKey]:
        """Its providers, in the order they are tried; none where each address has a breaker of its own."""
        ...

    def chain_to(self, destination: Destination | None) -> Sequence[BreakerKey]:
        """The providers, in order, for a delivery to this address (None: the contact's)."""
        ...

    async def destinations(
        self, connection: Connection, claims: Sequence[Claimed], now: datetime
    ) -> Mapping[DeliveryKey, Destination]:
        """Where deliveries go that have addresses of their own, those that are there still."""
        ...

    @property
    def rooms(self) -> Mapping[BreakerKey, int]:
        """How many messages providers had better have in hand, of those that take few at once."""
        ...

    @property
    def look_up(self) -> LookUp | None:
        """Says which messages a provider has made; None where that cannot be asked."""
        ...

    async def send(
        self, key: BreakerKey, attempt: Attempt, notification: Notification, recipient: Recipient, now: datetime
    ) -> Sent:
        """Compose the message and hand it to the provider named by `key`."""
        ...

    def text_message(self, notification: Notification, recipient: Recipient, at: datetime) -> SmsMessage | None:
        """The text message that was composed at an instant; None on other channels, or where it cannot be composed."""
        ...


class Composer(Protocol[MessageT_co]):
    """What is sent."""

    async def compose(
        self, attempt: Attempt, notification: Notification, recipient: Recipient, now: datetime
    ) -> MessageT_co | Outcome:
        """The message of one attempt, or, where there is none, what becomes of its delivery."""
        ...

    def text_message(self, notification: Notification, recipient: Recipient, at: datetime) -> SmsMessage | None:
        """The text message that was composed at an instant; None on other channels, or where it cannot be composed."""
        ...


@dataclass(frozen=True)
class BuiltIn(Generic[Message]):
    """The messages of a medium, in its own words."""

    medium: Medium[Message]

    async def compose(
        self, attempt: Attempt, notification: Notification, recipient: Recipient, now: datetime
    ) -> Message | Outcome:
        """The message, or, where it cannot be composed, a permanent failure of its delivery alone."""
        try:
            return self.medium.compose(notification, recipient, now)
        except _NOT_COMPOSED as error:
            failed = str(attempt.delivery_id)
            _log.error("message_not_composed", delivery_id=failed, kind=notification.kind, exc_info=True)
            return Outcome(OutcomeKind.PERMANENT, answer=f"cannot be composed: {type(error).__name__}")

    def text_message(self, notification: Notification, recipient: Recipient, at: datetime) -> SmsMessage | None:
        """Composed once more as at that instant."""
        try:
            message = self.medium.compose(notification, recipient, at)
        except _NOT_COMPOSED:
            return None
        return message if isinstance(message, SmsMessage) else None


@dataclass(frozen=True)
class MediumWay(Generic[Message]):
    """Messages to the contact's addresses, and the providers that take them."""

    channel: Channel
    composer: Composer[Message]
    providers: Sequence[Provider[Message]]
    size: Callable[[Message], SmsSize | None]
    look_up: LookUp | None = None

    @property
    def chain(self) -> Sequence[BreakerKey]:
        """The providers in the order they are tried."""
        return [BreakerKey(provider.name, provider.credential) for provider in self.providers]

    @property
    def rooms(self) -> Mapping[BreakerKey, int]:
        """The providers' own."""
        return {
            BreakerKey(provider.name, provider.credential): provider.room
            for provider in self.providers
            if provider.room is not None
        }

    def chain_to(self, destination: Destination | None) -> Sequence[BreakerKey]:
        """The same for every delivery."""
        return self.chain

    async def destinations(
        self, connection: Connection, claims: Sequence[Claimed], now: datetime
    ) -> Mapping[DeliveryKey, Destination]:
        """None: they go to the contact's addresses."""
        return {}

    async def send(
        self, key: BreakerKey, attempt: Attempt, notification: Notification, recipient: Recipient, now: datetime
    ) -> Sent:
        """Compose and hand over."""
        message = await self.composer.compose(attempt, notification, recipient, now)
        if isinstance(message, Outcome):
            return Sent(message)
        provider = next(provider for provider in self.providers if _is_named(provider, key))
        return Sent(await provider.send(message, attempt), self.size(message))

    def text_message(self, notification: Notification, recipient: Recipient, at: datetime) -> SmsMessage | None:
        """The composer's."""
        return self.composer.text_message(notification, recipient, at)


@dataclass(frozen=True)
class OwnAddressWay(Generic[Message]):
    """Messages that each have an address of their own, with a breaker of its own, and their one provider."""

    channel: Channel
    composer: Composer[Message]
    provider: DirectProvider[Message]
    read: ReadDestinations
    chain: Sequence[BreakerKey] = ()
    look_up: LookUp | None = None

    @property
    def rooms(self) -> Mapping[BreakerKey, int]:
        """None: each address has slots of its own."""
        return {}

    def chain_to(self, destination: Destination | None) -> Sequence[BreakerKey]:
        """What guards the address."""
        return [] if destination is None else [BreakerKey(self.provider.name, destination.breaker)]

    async def destinations(
        self, connection: Connection, claims: Sequence[Claimed], now: datetime
    ) -> Mapping[DeliveryKey, Destination]:
        """Where they go, those that are there still."""
        return await self.read(connection, claims, now)

    async def send(
        self, key: BreakerKey, attempt: Attempt, notification: Notification, recipient: Recipient, now: datetime
    ) -> Sent:
        """Compose and hand over."""
        message = await self.composer.compose(attempt, notification, recipient, now)
        return Sent(message if isinstance(message, Outcome) else await self.provider.send(message, attempt))

    def text_message(self, notification: Notification, recipient: Recipient, at: datetime) -> SmsMessage | None:
        """None: no text messages go to such addresses."""
        return None


def _is_named(provider: Provider[Message], key: BreakerKey) -> bool:
    return provider.name == key.provider and provider.credential == key.credential
