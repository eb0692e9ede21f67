"""Messages in other words than the built-in ones."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import pytest

from tocsin_dispatcher.breakers import BreakerKey
from tocsin_dispatcher.channels.sms import Sms
from tocsin_dispatcher.delivering.way import BuiltIn, MediumWay
from tocsin_dispatcher.rendering.renderer import Renderer
from tocsin_dispatcher.templating.composing import Worded
from tocsin_dispatcher.values import (
    Attempt,
    Channel,
    Contact,
    Notification,
    Outcome,
    OutcomeKind,
    PartnerSettings,
    Preferences,
    Recipient,
    SmsMessage,
    TemplateKind,
    Trial,
)

from .conftest import NOON_IN_CHICAGO as NOON

BUILT_IN = "Corner Coffee: $4.75"
KEY = BreakerKey("kept", "key")


@dataclass
class Kept:
    """A provider that keeps what it is given."""

    name: str = "kept"
    credential: str = "key"
    room: int | None = None
    messages: list[SmsMessage] = field(default_factory=list)

    async def send(self, message: SmsMessage, attempt: Attempt) -> Outcome:
        self.messages.append(message)
        return Outcome(OutcomeKind.ACCEPTED)


@dataclass
class Scripted:
    """Words that a test gives."""

    words: str | Exception | None
    sms: Sms

    async def compose(self, notification: Notification, recipient: Recipient, now: datetime) -> SmsMessage | None:
        if isinstance(self.words, Exception):
            raise self.words
        if self.words is None or recipient.contact is None:
            return None
        return self.sms.message(recipient.contact, recipient.partner, self.words)

    def may_be_others(self, notification: Notification, recipient: Recipient, at: datetime) -> bool:
        return self.words is not None


def way_in(words: str | Exception | None) -> tuple[MediumWay[SmsMessage], Kept]:
    """A way of text messages in such words, and its provider."""
    sms, kept = Sms(Renderer("https://app.example", "First Bank")), Kept()
    worded = Worded(BuiltIn(sms), Scripted(words, sms))
    return MediumWay(Channel.SMS, worded, [kept], lambda message: message.size), kept


@pytest.mark.parametrize(
    ("words", "sent"), [("In other words", "In other words"), (None, BUILT_IN), (ValueError("no"), BUILT_IN)]
)
async def test_a_message_leaves_in_other_words_or_in_the_built_in_ones(
    words: str | Exception | None,
    sent: str,
    make_notification: Callable[..., Notification],
    contact: Contact,
    attempt: Attempt,
) -> None:
    """Weighed and cut by its medium in either case."""
    way, kept = way_in(words)
    to = Recipient(contact, Preferences(), PartnerSettings())
    came = await way.send(KEY, attempt, make_notification(), to, NOON)
    assert [message.text for message in kept.messages] == [sent]
    assert came.outcome.kind is OutcomeKind.ACCEPTED
    assert came.size is not None
    assert came.size.segments == 1


async def test_a_trial_that_cannot_be_composed_tells_nothing(
    make_notification: Callable[..., Notification], contact: Contact, attempt: Attempt
) -> None:
    """The built-in words would tell what never happened."""
    way, kept = way_in(ValueError("no"))
    trial = make_notification(trial=Trial(TemplateKind.GOAL, "", "x", ""))
    came = await way.send(KEY, attempt, trial, Recipient(contact, Preferences(), PartnerSettings()), NOON)
    assert (came.outcome.kind, kept.messages) == (OutcomeKind.PERMANENT, [])


async def test_a_lost_text_that_may_have_had_other_words_is_not_compared_by_words(
    make_notification: Callable[..., Notification], contact: Contact
) -> None:
    """Compared with the built-in ones it would never be found, and be sent twice."""
    to = Recipient(contact, Preferences(), PartnerSettings())
    assert way_in("In other words")[0].text_message(make_notification(), to, NOON) is None
    built_in = way_in(None)[0].text_message(make_notification(), to, NOON)
    assert built_in is not None
    assert built_in.text == BUILT_IN
