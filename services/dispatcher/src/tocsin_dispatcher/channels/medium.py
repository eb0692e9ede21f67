"""What every medium answers."""

from datetime import datetime
from typing import Protocol, TypeVar

from tocsin_dispatcher.planning.local_time import zone_named
from tocsin_dispatcher.rendering.formats import locale_named
from tocsin_dispatcher.rendering.variables import Reader
from tocsin_dispatcher.values import Contact, Notification, Recipient

MessageT_co = TypeVar("MessageT_co", covariant=True)


class Medium(Protocol[MessageT_co]):
    """Composes messages for one channel."""

    def compose(self, notification: Notification, recipient: Recipient, now: datetime) -> MessageT_co:
        """The message of one attempt; relative days count from `now`. ValueError where the contact has no address
        on this channel, which the gate has seen to."""
        ...


def reader_of(person: Contact | Notification | None, now: datetime, hide_amounts: bool = False) -> Reader:
    """A person as a reader: by their profile; while none has come by what was known when it fired, else in US English
    and UTC."""
    if person is None:
        return Reader(locale_named(""), zone_named("UTC"), now, hide_amounts)
    return Reader(locale_named(person.locale), zone_named(person.time_zone or "UTC"), now, hide_amounts)
