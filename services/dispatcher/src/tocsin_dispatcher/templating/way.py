"""A channel's way with the bank's words in place of the built-in ones, and with the texts of trials.

What a message must be on its medium is the channel's to say, as ever; only its texts come from elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from tocsin_dispatcher.breakers import BreakerKey
from tocsin_dispatcher.delivering.way import MediumWay, OwnAddressWay, Sent
from tocsin_dispatcher.keys import DeliveryKey
from tocsin_dispatcher.providers.provider import LookUp
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
)

Message = TypeVar("Message")
MessageT_co = TypeVar("MessageT_co", covariant=True)


class Words(Protocol[MessageT_co]):
    """Words for a channel's messages that are not the built-in ones."""

    async def compose(self, notification: Notification, recipient: Recipient, now: datetime) -> MessageT_co | None:
        """The message of one attempt; None where the built-in words are to be told."""
        ...

    def may_be_others(self, notification: Notification, recipient: Recipient, at: datetime) -> bool:
        """Whether a message composed at that instant may have had other words than the built-in ones."""
        ...


@dataclass(frozen=True)
class WordedWay(Generic[Message]):
    """`built_in` with a medium that has the message ready, where `words` made one."""

    built_in: MediumWay[Message] | OwnAddressWay[Message]
    words: Words[Message]

    @property
    def channel(self) -> Channel:
        """The channel."""
        return self.built_in.channel

    @property
    def chain(self) -> Sequence[BreakerKey]:
        """Its providers, in order."""
        return self.built_in.chain

    @property
    def look_up(self) -> LookUp | None:
        """Says which messages a provider has made."""
        return self.built_in.look_up

    def chain_to(self, destination: Destination | None) -> Sequence[BreakerKey]:
        """The providers for a delivery to this address."""
        return self.built_in.chain_to(destination)

    async def destinations(
        self, connection: Connection, claims: Sequence[Claimed], now: datetime
    ) -> Mapping[DeliveryKey, Destination]:
        """Where deliveries go that have addresses of their own."""
        return await self.built_in.destinations(connection, claims, now)

    async def send(
        self, key: BreakerKey, attempt: Attempt, notification: Notification, recipient: Recipient, now: datetime
    ) -> Sent:
        """Word the message and hand it over; the built-in medium words what the bank does not."""
        message = await self._message(notification, recipient, now)
        if message is not None:
            ready = replace(self.built_in, medium=_Ready(message))
            return await ready.send(key, attempt, notification, recipient, now)
        if notification.trial is not None:
            # the built-in words would tell something that never happened
            return Sent(Outcome(OutcomeKind.PERMANENT, answer="the test cannot be composed"))
        return await self.built_in.send(key, attempt, notification, recipient, now)

    async def _message(self, notification: Notification, recipient: Recipient, now: datetime) -> Message | None:
        """The message in other words; None also where it cannot be composed, which the built-in medium tells of."""
        try:
            return await self.words.compose(notification, recipient, now)
        except (ValueError, LookupError, TypeError, ArithmeticError):
            return None

    def text_message(self, notification: Notification, recipient: Recipient, at: datetime) -> SmsMessage | None:
        """The text message in built-in words; None where it may have been in others, which nobody has kept."""
        others = self.words.may_be_others(notification, recipient, at)
        return None if others else self.built_in.text_message(notification, recipient, at)


@dataclass(frozen=True, slots=True)
class _Ready(Generic[Message]):
    """A medium whose message is composed already."""

    message: Message

    def compose(self, notification: Notification, recipient: Recipient, now: datetime) -> Message:
        """It."""
        return self.message
