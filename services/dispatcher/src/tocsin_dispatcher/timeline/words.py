"""The sentences of a timeline: plain English, to be read to the user, and nothing that only we understand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from babel.dates import format_datetime

from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.values import Channel, OutcomeKind, Purpose, ReceiptEffect

_MESSAGES: Mapping[Channel, str] = {
    Channel.EMAIL: "e-mail",
    Channel.SMS: "text message",
    Channel.IN_APP: "notification",
    Channel.PUSH: "browser notification",
    Channel.WEBHOOK: "webhook message",
}
_TAKERS: Mapping[Channel, str] = {
    Channel.EMAIL: "our e-mail provider",
    Channel.SMS: "our text message provider",
    Channel.IN_APP: "the inbox",
    Channel.PUSH: "the browser's own service",
    Channel.WEBHOOK: "the address it goes to",
}

_HELD_BECAUSE: Mapping[Reason, str] = {
    Reason.DAILY_DIGEST: "you get alerts of this kind once a day",
    Reason.QUIET_HOURS: "your quiet hours were on",
    Reason.RATE_LIMITED: "you had got as many messages as your limit allows",
    Reason.FLOOD: "there were very many urgent messages within an hour",
    Reason.PROFILE_AWAITED: "we had not yet got your contact details from your bank",
}
_NOT_SENT_BECAUSE: Mapping[Reason, str] = {
    Reason.UNVERIFIED: "the address was not confirmed",
    Reason.ALERT_GONE: "the alert had been deleted or switched off by then",
    Reason.SNOOZED: "the alert was snoozed by then",
    Reason.EXPIRED: "it would have come too late to be of use",
    Reason.PREFERENCE_OFF: "your preferences have these messages switched off",
    Reason.SUPPRESSED_BOUNCED: "an earlier message to this address came back",
    Reason.SUPPRESSED_COMPLAINED: "an earlier message to this address was reported as spam",
    Reason.SUPPRESSED_UNSUBSCRIBED: "you unsubscribed from these messages",
    Reason.SUPPRESSED_STOPPED: "you answered an earlier text message with STOP",
    Reason.SUPPRESSED_DISABLED: "the address it goes to takes no messages any more",
    Reason.NO_LONGER_TRUE: "what it would have told was no longer true when we checked again",
}
_NOWHERE: Mapping[Channel, str] = {
    Channel.EMAIL: "we had no e-mail address of yours",
    Channel.SMS: "we had no phone number of yours",
    Channel.PUSH: "no browser of yours was set up for notifications",
    Channel.WEBHOOK: "no webhook was set up",
}

_ANSWERED: Mapping[OutcomeKind, str] = {
    OutcomeKind.ACCEPTED: "{Taker} took the {message}.",
    OutcomeKind.THROTTLED: "{Taker} was too busy to take the {message}.",
    OutcomeKind.TRANSIENT: "{Taker} could not take the {message} just then.",
    OutcomeKind.PERMANENT: "{Taker} refused the {message} for good.",
    OutcomeKind.ACCOUNT: "{Taker} did not take the {message}, because of a problem with our account there.",
    OutcomeKind.UNKNOWN: "We handed the {message} to {taker} and got no clear answer, so it may or may not have left.",
}
_SAID: Mapping[ReceiptEffect, str] = {
    ReceiptEffect.DELIVERED: "The {message} arrived.",
    ReceiptEffect.BOUNCED: "The {message} came back: the address does not exist, or takes no messages.",
    ReceiptEffect.FAILED: "The {message} could not be delivered.",
    ReceiptEffect.OPENED: "The {message} was opened.",
    ReceiptEffect.OPENED_BY_MACHINE: "A program opened the {message}, for example a virus scanner, or a mail service"
    " that protects privacy. That does not mean that anybody has read it.",
    ReceiptEffect.CLICKED: "A link in the {message} was clicked.",
}
_ON_ITS_WAY: Mapping[str, str] = {
    "processed": "Our e-mail provider is sending the e-mail.",
    "deferred": "The mail server asked to be tried again later. Our e-mail provider does so.",
    "sent": "The text message was passed on to the phone network.",
}
_COMPLAINT = "The e-mail was reported as spam, so nothing more is sent to this address."
_UNSUBSCRIBED = "You unsubscribed from e-mails."

COMPLAINTS = frozenset({"spamreport"})
UNSUBSCRIPTIONS = frozenset({"unsubscribe", "group_unsubscribe"})
"""Receipts' names."""


def local_time(at: datetime, zone: ZoneInfo) -> str:
    """Such as `08:00 on 4 November 2025`."""
    return str(format_datetime(at, "HH:mm 'on' d MMMM y", tzinfo=zone, locale="en"))


def fired(alert_name: str, message: str) -> str:
    """What made it true, as the alert told it."""
    which = f'Your alert "{alert_name}"' if alert_name else "Your alert"
    return f"{which} was triggered. {message}"


def prepared(channel: Channel, purpose: Purpose) -> str:
    """A message begins."""
    if channel is Channel.IN_APP:
        return "The notification was put into your inbox."
    if purpose is Purpose.DIGEST:
        return f"Several alerts were put together into one {_MESSAGES[channel]}."
    return f"{_an(_MESSAGES[channel])} was prepared."


def held(channel: Channel, reason: Reason | None, until: datetime | None, zone: ZoneInfo) -> str:
    """It waits for a time."""
    why = None if reason is None else _HELD_BECAUSE.get(reason)
    because = "" if why is None else f", because {why}"
    how_long = "" if until is None else f" until {local_time(until, zone)}"
    return f"The {_MESSAGES[channel]} was held{how_long}{because}."


def waiting(channel: Channel) -> str:
    """It waits for its provider."""
    return f"The {_MESSAGES[channel]} had to wait, because {_TAKERS[channel]} was not working properly."


def rechecked() -> str:
    """The evaluator was asked."""
    return "Before sending, we checked again whether this was still worth telling. It was."


def not_sent(channel: Channel, reason: Reason | None) -> str:
    """It is suppressed."""
    why = None if reason is None else _NOT_SENT_BECAUSE.get(reason)
    if reason is Reason.NO_ADDRESS:
        why = _NOWHERE.get(channel)
    because = "" if why is None else f", because {why}"
    return f"The {_MESSAGES[channel]} was not sent{because}."


def merged(channel: Channel, into: Purpose | None) -> str:
    """Another message tells it."""
    message = _MESSAGES[channel]
    if into is Purpose.DIGEST:
        return f"It was put together with other alerts into one {message}."
    return f"Another {message} tells you about the same purchase, so this one was joined with it."


def released(channel: Channel) -> str:
    """What it had been joined with ended untold."""
    return f"The {_MESSAGES[channel]} it had been joined with was not delivered, so this one was taken up again."


def expired(channel: Channel) -> str:
    """Too late."""
    return f"The {_MESSAGES[channel]} could not be sent in time to be of use, so we stopped trying."


def retried(channel: Channel) -> str:
    """By a person."""
    return f"Our staff had the {_MESSAGES[channel]} sent again."


def attempted(channel: Channel, outcome: OutcomeKind | None, possible_duplicate: bool) -> str:
    """A call to a provider, and what came of it; None: it is under way."""
    message, taker = _MESSAGES[channel], _TAKERS[channel]
    words = "We are handing the {message} to {taker}." if outcome is None else _ANSWERED[outcome]
    twice = " An earlier try was never answered, so you may have got it twice." if possible_duplicate else ""
    return words.format(message=message, taker=taker, Taker=taker[0].upper() + taker[1:]) + twice


def said(channel: Channel, effect: ReceiptEffect, name: str) -> str | None:
    """What a provider tells later; None for what is no news to anybody."""
    if name in COMPLAINTS:
        return _COMPLAINT
    if name in UNSUBSCRIPTIONS:
        return _UNSUBSCRIBED
    if effect is ReceiptEffect.SENT:
        return _ON_ITS_WAY.get(name)
    words = _SAID.get(effect)
    return None if words is None else words.format(message=_MESSAGES[channel])


def shown() -> str:
    """The inbox was looked at."""
    return "The notification was shown in your inbox."


def read() -> str:
    """It was read."""
    return "You read the notification in your inbox."


def _an(noun: str) -> str:
    return f"An {noun}" if noun[0] in "aeiou" else f"A {noun}"
