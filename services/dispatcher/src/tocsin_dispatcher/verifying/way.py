"""A channel's way that opens codes: nobody before it sees one, and nothing after it keeps one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tocsin_dispatcher.breakers import BreakerKey
from tocsin_dispatcher.delivering.way import Sent, Way
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
    SealedCode,
    SmsMessage,
    Verification,
)
from tocsin_dispatcher.verifying.codes import Codes
from tocsin_kit.sealing import CannotOpen

_SHORTEST = timedelta(minutes=1)
_USED = Outcome(OutcomeKind.PERMANENT, answer="the code is of no use any more")


@dataclass(frozen=True)
class CodedWay:
    """`way` with what a code's message says put in."""

    way: Way
    codes: Codes

    @property
    def channel(self) -> Channel:
        """The channel."""
        return self.way.channel

    @property
    def chain(self) -> Sequence[BreakerKey]:
        """Its providers, in order."""
        return self.way.chain

    @property
    def look_up(self) -> LookUp | None:
        """Says which messages a provider has made."""
        return self.way.look_up

    def chain_to(self, destination: Destination | None) -> Sequence[BreakerKey]:
        """The providers for a delivery to this address."""
        return self.way.chain_to(destination)

    async def destinations(
        self, connection: Connection, claims: Sequence[Claimed], now: datetime
    ) -> Mapping[DeliveryKey, Destination]:
        """Where deliveries go that have addresses of their own."""
        return await self.way.destinations(connection, claims, now)

    async def send(
        self, key: BreakerKey, attempt: Attempt, notification: Notification, recipient: Recipient, now: datetime
    ) -> Sent:
        """Open the code, where there is one, and hand over."""
        told = self._opened(notification, now)
        return Sent(_USED) if told is None else await self.way.send(key, attempt, told, recipient, now)

    def text_message(self, notification: Notification, recipient: Recipient, at: datetime) -> SmsMessage | None:
        """The text message as at that instant; None where its code cannot be opened any more."""
        told = self._opened(notification, at)
        return None if told is None else self.way.text_message(told, recipient, at)

    def _opened(self, notification: Notification, now: datetime) -> Notification | None:
        if notification.code is None:
            return notification
        try:
            told = _told(self.codes, notification.code, now)
        except CannotOpen:
            return None
        return replace(notification, context=told, code=None)


def _told(codes: Codes, code: SealedCode, now: datetime) -> Verification:
    return Verification(codes.open(code.delivery_id, code.sealed), max(code.expires_at - now, _SHORTEST))
