"""E-mail: one recipient a message, text and HTML, a link that stops it, headers that nothing can break out of."""

import re
from datetime import datetime

from tocsin_dispatcher.channels.medium import reader_of
from tocsin_dispatcher.rendering.renderer import Renderer
from tocsin_dispatcher.unsubscribe import UnsubscribeLinks
from tocsin_dispatcher.values import Channel, EmailMessage, KindSwitch, Notification, Recipient

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_LONGEST_SUBJECT = 200


def header_text(text: str) -> str:
    """The text as a header may hold it: CR, LF and other control characters become a space, at most 200 characters."""
    return " ".join(_CONTROL.sub(" ", text).split())[:_LONGEST_SUBJECT]


class Email:
    """Composes e-mails."""

    def __init__(self, renderer: Renderer, links: UnsubscribeLinks) -> None:
        self._renderer = renderer
        self._links = links

    def compose(self, notification: Notification, recipient: Recipient, now: datetime) -> EmailMessage:
        """The e-mail of one attempt."""
        contact = recipient.contact
        if contact is None or not contact.email:
            raise ValueError("an e-mail needs an address")
        switch = KindSwitch(notification.partner_id, notification.user_id, notification.kind, Channel.EMAIL)
        stop = self._links.url(switch)
        texts = self._renderer.email(notification.context, reader_of(contact, now), stop)
        return EmailMessage(header_text(contact.email), header_text(texts.subject), texts.text, texts.html, stop)
