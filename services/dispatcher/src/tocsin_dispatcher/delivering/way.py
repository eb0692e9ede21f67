"""A channel as the worker sees it: its medium, its chain of providers, one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

import structlog
from jinja2 import TemplateError

from tocsin_dispatcher.breakers import BreakerKey
from tocsin_dispatcher.channels.medium import Medium
from tocsin_dispatcher.providers.provider import LookUp, Provider
from tocsin_dispatcher.values import (
    Attempt,
    Channel,
    Notification,
    Outcome,
    OutcomeKind,
    Recipient,
    SmsMessage,
    SmsSize,
)

Message = TypeVar("Message")
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
        """Its providers, in the order they are tried."""
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


@dataclass(frozen=True)
class MediumWay(Generic[Message]):
    """A medium and the providers that take its messages."""

    channel: Channel
    medium: Medium[Message]
    providers: Sequence[Provider[Message]]
    size: Callable[[Message], SmsSize | None]
    look_up: LookUp | None = None

    @property
    def chain(self) -> Sequence[BreakerKey]:
        """The providers in the order they are tried."""
        return [BreakerKey(provider.name, provider.credential) for provider in self.providers]

    async def send(
        self, key: BreakerKey, attempt: Attempt, notification: Notification, recipient: Recipient, now: datetime
    ) -> Sent:
        """Compose and hand over. A message that cannot be composed is a permanent failure of its delivery alone."""
        try:
            message = self.medium.compose(notification, recipient, now)
        except _NOT_COMPOSED as error:
            _log.error(
                "message_not_composed", delivery_id=str(attempt.delivery_id), kind=notification.kind, exc_info=True
            )
            return Sent(Outcome(OutcomeKind.PERMANENT, answer=f"cannot be composed: {type(error).__name__}"))
        provider = next(provider for provider in self.providers if _is_named(provider, key))
        return Sent(await provider.send(message, attempt), self.size(message))

    def text_message(self, notification: Notification, recipient: Recipient, at: datetime) -> SmsMessage | None:
        """Composed once more as at that instant."""
        try:
            message = self.medium.compose(notification, recipient, at)
        except _NOT_COMPOSED:
            return None
        return message if isinstance(message, SmsMessage) else None


def _is_named(provider: Provider[Message], key: BreakerKey) -> bool:
    return provider.name == key.provider and provider.credential == key.credential
