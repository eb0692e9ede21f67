"""Messages with the codes in them: nobody before it sees one, and nothing after it keeps one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from tocsin_dispatcher.delivering.way import Composer
from tocsin_dispatcher.values import (
    Attempt,
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

Message = TypeVar("Message")
_SHORTEST = timedelta(minutes=1)
_USED = Outcome(OutcomeKind.PERMANENT, answer="the code is of no use any more")


@dataclass(frozen=True)
class Coded(Generic[Message]):
    """What `composer` makes of notifications whose code, where there is one, is opened."""

    composer: Composer[Message]
    codes: Codes

    async def compose(
        self, attempt: Attempt, notification: Notification, recipient: Recipient, now: datetime
    ) -> Message | Outcome:
        """The message of one attempt."""
        told = self._opened(notification, now)
        return _USED if told is None else await self.composer.compose(attempt, told, recipient, now)

    def text_message(self, notification: Notification, recipient: Recipient, at: datetime) -> SmsMessage | None:
        """The text message as at that instant; None where its code cannot be opened any more."""
        told = self._opened(notification, at)
        return None if told is None else self.composer.text_message(told, recipient, at)

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
