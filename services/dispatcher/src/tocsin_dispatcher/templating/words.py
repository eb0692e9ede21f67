"""The messages of each channel in a bank's words, or of a trial."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tocsin_dispatcher.channels.email import Email
from tocsin_dispatcher.channels.medium import reader_of
from tocsin_dispatcher.channels.push import message_to, worded
from tocsin_dispatcher.channels.sms import Sms
from tocsin_dispatcher.rendering.renderer import EmailTexts
from tocsin_dispatcher.templating.wording import Wording
from tocsin_dispatcher.values import (
    Channel,
    EmailMessage,
    Notification,
    PushMessage,
    PushSubscription,
    Recipient,
    SmsMessage,
)
from tocsin_kit.sealing import Seals


@dataclass(frozen=True)
class EmailWords:
    """E-mails."""

    wording: Wording
    email: Email

    async def compose(self, notification: Notification, recipient: Recipient, now: datetime) -> EmailMessage | None:
        """The e-mail; None where the built-in words are to be told."""
        contact, trial = recipient.contact, notification.trial
        if contact is None or not contact.email:
            return None
        if trial is not None:
            return self.email.message(notification, contact, EmailTexts(trial.subject, trial.text, trial.html))
        reader = reader_of(contact, now)
        texts = await self.wording.email(
            notification.partner_id, notification.context, reader, lambda: self.email.stop(notification)
        )
        return None if texts is None else self.email.message(notification, contact, texts)

    def may_be_others(self, notification: Notification, recipient: Recipient, at: datetime) -> bool:
        """Never asked: only text messages are compared."""
        return _may_be_others(self.wording, Channel.EMAIL, notification, recipient, at)


@dataclass(frozen=True)
class SmsWords:
    """Text messages."""

    wording: Wording
    sms: Sms

    async def compose(self, notification: Notification, recipient: Recipient, now: datetime) -> SmsMessage | None:
        """The text message; None where the built-in words are to be told."""
        contact, trial = recipient.contact, notification.trial
        if contact is None or not contact.phone:
            return None
        if trial is not None:
            return self.sms.message(contact, recipient.partner, trial.text)
        reader = reader_of(contact, now, recipient.preferences.hide_amounts)
        words = await self.wording.sms(notification.partner_id, notification.context, reader)
        return None if words is None else self.sms.message(contact, recipient.partner, words)

    def may_be_others(self, notification: Notification, recipient: Recipient, at: datetime) -> bool:
        """Whether a bank's template may have told it."""
        return _may_be_others(self.wording, Channel.SMS, notification, recipient, at)


@dataclass(frozen=True)
class PushWords:
    """Push messages."""

    wording: Wording
    seals: Seals

    async def compose(self, notification: Notification, recipient: Recipient, now: datetime) -> PushMessage | None:
        """The push message; None where the built-in words are to be told."""
        browser = recipient.destination
        if not isinstance(browser, PushSubscription):
            return None
        reader = reader_of(recipient.contact or notification, now, recipient.preferences.hide_amounts)
        texts = await self.wording.push(notification.partner_id, notification.context, reader)
        if texts is None:
            return None
        return message_to(browser, self.seals, worded(notification.id, texts), notification.critical)

    def may_be_others(self, notification: Notification, recipient: Recipient, at: datetime) -> bool:
        """Never asked: only text messages are compared."""
        return _may_be_others(self.wording, Channel.PUSH, notification, recipient, at)


def _may_be_others(
    wording: Wording, channel: Channel, notification: Notification, recipient: Recipient, at: datetime
) -> bool:
    if notification.trial is not None:
        return True
    if recipient.contact is None:
        return False
    reader = reader_of(recipient.contact, at)
    return wording.may_word(notification.partner_id, notification.context, channel, reader)
