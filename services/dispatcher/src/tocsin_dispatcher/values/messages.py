"""What leaves on each medium, rendered and safe for it."""

from dataclasses import dataclass

from tocsin_dispatcher.values.delivery import SmsSize
from tocsin_dispatcher.values.firing import Channel


@dataclass(frozen=True, slots=True)
class EmailMessage:
    """An e-mail to one recipient; no field that becomes a header holds a control character."""

    to: str
    subject: str
    text: str
    html: str
    unsubscribe_url: str
    """https, for List-Unsubscribe and the footer."""


@dataclass(frozen=True, slots=True)
class SmsMessage:
    """A text message, cut to the segments the partner allows."""

    to: str
    text: str
    size: SmsSize


@dataclass(frozen=True, slots=True)
class InAppMessage:
    """What the inbox shows; rendered at intake and never changed."""

    title: str
    message: str
    action_url: str


@dataclass(frozen=True, slots=True)
class MailboxEntry:
    """What would have been sent, as the local mailbox shows it; an SMS has neither subject nor HTML."""

    channel: Channel
    destination: str
    subject: str
    text: str
    html: str
