"""What leaves on each medium, rendered and safe for it."""

from dataclasses import dataclass, field
from uuid import UUID

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
class PushMessage:
    """A push message to one browser."""

    url: str = field(repr=False)
    """At the push service; who knows it may send."""
    public_key: bytes = field(repr=False)
    """The browser's, an uncompressed point of P-256."""
    auth: bytes = field(repr=False)
    text: bytes
    """What the browser gets, JSON; short enough to be sent encrypted."""
    urgent: bool
    """Worth waking a sleeping device."""


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """A webhook to one endpoint."""

    endpoint_id: UUID
    url: str = field(repr=False)
    secrets: tuple[bytes, ...] = field(repr=False)
    """Each signs."""
    body: bytes


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
