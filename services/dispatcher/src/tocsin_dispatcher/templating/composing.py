"""Messages in the bank's words in place of the built-in ones, and the texts of trials.

What a message must be on its medium is the channel's to say, as ever; only its texts come from elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from tocsin_dispatcher.delivering.way import Composer
from tocsin_dispatcher.values import Attempt, Notification, Outcome, OutcomeKind, Recipient, SmsMessage

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
class Worded(Generic[Message]):
    """Messages in `words`, and in the built-in ones where there are no others."""

    built_in: Composer[Message]
    words: Words[Message]

    async def compose(
        self, attempt: Attempt, notification: Notification, recipient: Recipient, now: datetime
    ) -> Message | Outcome:
        """The message of one attempt. The built-in words never tell a trial: it would be something that never
        happened."""
        message = await self._worded(notification, recipient, now)
        if message is not None:
            return message
        if notification.trial is not None:
            return Outcome(OutcomeKind.PERMANENT, answer="the test cannot be composed")
        return await self.built_in.compose(attempt, notification, recipient, now)

    async def _worded(self, notification: Notification, recipient: Recipient, now: datetime) -> Message | None:
        """The message in other words; None also where it cannot be composed, which the built-in words tell of."""
        try:
            return await self.words.compose(notification, recipient, now)
        except (ValueError, LookupError, TypeError, ArithmeticError):
            return None

    def text_message(self, notification: Notification, recipient: Recipient, at: datetime) -> SmsMessage | None:
        """The text message in built-in words; None where it may have been in others, which nobody has kept."""
        others = self.words.may_be_others(notification, recipient, at)
        return None if others else self.built_in.text_message(notification, recipient, at)
