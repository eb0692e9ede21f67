"""SMS: short, in as few segments as the partner allows, and what it costs."""

from datetime import datetime

from tocsin_dispatcher.channels.medium import reader_of
from tocsin_dispatcher.rendering.renderer import Renderer
from tocsin_dispatcher.text import fitted, segments
from tocsin_dispatcher.values import Contact, Notification, PartnerSettings, Recipient, SmsMessage, SmsSize


class Sms:
    """Composes text messages."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def compose(self, notification: Notification, recipient: Recipient, now: datetime) -> SmsMessage:
        """The text message of one attempt, cut at a word where it is too long."""
        contact = recipient.contact
        if contact is None:
            raise ValueError("an SMS needs a phone number")
        reader = reader_of(contact, now, hide_amounts=recipient.preferences.hide_amounts)
        return self.message(contact, recipient.partner, self._renderer.sms(notification.context, reader))

    def message(self, contact: Contact, partner: PartnerSettings, words: str) -> SmsMessage:
        """The text message of such words, cut at a word where it is too long. Raises ValueError without a number."""
        if not contact.phone:
            raise ValueError("an SMS needs a phone number")
        text = fitted(words, partner.sms_segments)
        count = segments(text)
        return SmsMessage(contact.phone, text, SmsSize(count, count * partner.price_per_segment))
