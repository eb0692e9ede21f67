"""E-mail: one recipient a message, text and HTML, a link that stops it, headers that nothing can break out of."""

import re
from datetime import datetime

from tocsin_dispatcher.channels.medium import reader_of
from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.rendering.renderer import EmailTexts, Renderer
from tocsin_dispatcher.unsubscribe import UnsubscribeLinks, kind_switch
from tocsin_dispatcher.values import Channel, Contact, EmailMessage, Notification, Recipient, kind_told

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
        if recipient.contact is None:
            raise ValueError("an e-mail needs an address")
        stop = self.stop(notification)
        texts = self._renderer.email(notification.context, reader_of(recipient.contact, now), stop)
        return _message(recipient.contact, texts, stop)

    def message(self, notification: Notification, contact: Contact, texts: EmailTexts) -> EmailMessage:
        """The e-mail of such texts. Raises ValueError where there is no address."""
        return _message(contact, texts, self.stop(notification))

    def stop(self, notification: Notification) -> str:
        """The link that stops e-mails of its kind."""
        kind = kind_told(notification.context) if notification.trial is None else notification.trial.kind
        return self._links.url(kind_switch(UserKey(notification.partner_id, notification.user_id), kind, Channel.EMAIL))


def _message(contact: Contact, texts: EmailTexts, stop: str) -> EmailMessage:
    if not contact.email:
        raise ValueError("an e-mail needs an address")
    return EmailMessage(header_text(contact.email), header_text(texts.subject), texts.text, texts.html, stop)
