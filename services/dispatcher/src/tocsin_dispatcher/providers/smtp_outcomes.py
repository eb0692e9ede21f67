"""What comes of handing an e-mail to an SMTP server.

Sources: RFC 5321 4.2 and 4.3.2 (replies, by command), RFC 4954 6 (of AUTH), RFC 3207 4 (of STARTTLS), RFC 3463 and
IANA's registry of enhanced status codes. A 4yz says "try again", a 5yz "do not". What is refused before a recipient was
named is about us, not about the message: the next provider may take it, and no message fails for it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from tocsin_dispatcher.provider_text import shown
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.values import Outcome, OutcomeKind


class Step(StrEnum):
    """How far a message came."""

    CONNECT = "connect"
    """The connection with its greeting, EHLO, TLS and log-in."""
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    """The command; nothing of the message has left."""
    END = "end"
    """The message has been written: from here on it may have been taken."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server said; `code` is -1 for what is no reply."""

    step: Step
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Silence:
    """No reply in time, or no connection any more."""

    step: Step
    why: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """The server does not offer what is set up: TLS, a log-in we know."""

    why: str


@dataclass(frozen=True, slots=True)
class Crowded:
    """All connections that we may have are in use."""


Exchange = Reply | Silence | Unusable | Crowded

_CROWDED_FOR = timedelta(seconds=5)
"""The server is slower than messages are claimed: some wait in the queue in place of waiting for a connection."""

ABOUT_US: Mapping[int, str] = {
    500: "command not known",
    502: "command not implemented",
    503: "bad sequence of commands",
    504: "parameter not implemented",
    521: "takes no mail",
    530: "log in first, or by TLS first",
    534: "mechanism too weak",
    535: "credentials refused",
    538: "encryption needed",
}
"""Refusals that meet every message, at whatever command."""

_ABOUT_US = frozenset({"5.4.5", "5.7.8", "5.7.9", "5.7.11", "5.7.13", "5.7.14"})
"""The same as enhanced codes: our daily quota, credentials, mechanism, encryption, account disabled, no trust."""
_ABOUT_THE_MESSAGE = frozenset({"5.2.3", "5.3.4", "5.6.7", "5.6.9"})
"""Refusals of MAIL that are about this message all the same: too large, an address that is not ASCII."""
_TOO_LARGE = 552
_NO_SUCH_ADDRESS = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
"""No such mailbox or host, no address, moved without a trace, takes no mail (RFC 7505), disabled; not a full one."""
_FLOOD = "4.7.28"
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})\b", re.ASCII)
_THROTTLED = re.compile(r"throttl|(sending )?rate (limit )?exceeded|too fast|too quickly", re.IGNORECASE)
"""No code of its own tells that we send too fast; servers say it in words (Amazon SES: `454 Throttling failure`)."""
_NO_RELAY = re.compile(r"\brelay", re.IGNORECASE)
"""5.7.1 is any policy; only words tell that the server does not know us (Postfix: `554 5.7.1 Relay access denied`)."""


def smtp_outcome(exchange: Exchange, provider_id: str) -> Outcome:
    """The outcome; `provider_id` is the Message-ID that the message was given."""
    match exchange:
        case Reply():
            return _of_reply(exchange, provider_id)
        case Silence(Step.END, why):
            return Outcome(OutcomeKind.UNKNOWN, answer=why)
        case Silence(_, why):
            return Outcome(OutcomeKind.TRANSIENT, answer=why)
        case Unusable(why):
            return Outcome(OutcomeKind.ACCOUNT, answer=why)
        case Crowded():
            return Outcome(OutcomeKind.THROTTLED, answer="all our connections are in use", wait=_CROWDED_FOR, ours=True)


def _of_reply(reply: Reply, provider_id: str) -> Outcome:
    found = _ENHANCED.match(reply.text)
    enhanced = found.group(1) if found else None
    kind = _kind(reply, enhanced)
    gone = kind is OutcomeKind.PERMANENT and enhanced in _NO_SUCH_ADDRESS
    return Outcome(
        kind,
        provider_id=provider_id if kind is OutcomeKind.ACCEPTED else None,
        status=reply.code if 100 <= reply.code <= 599 else None,
        code=enhanced,
        answer="" if kind is OutcomeKind.ACCEPTED else shown(f"{reply.step}: {reply.text}"),
        suppress=SuppressionCause.BOUNCED if gone else None,
    )


def _kind(reply: Reply, enhanced: str | None) -> OutcomeKind:
    match reply.code // 100:
        case 2 if reply.step is Step.END:
            return OutcomeKind.ACCEPTED
        case 4 if enhanced == _FLOOD or _THROTTLED.search(reply.text):
            return OutcomeKind.THROTTLED
        case 4:
            return OutcomeKind.TRANSIENT
        case 5:
            return OutcomeKind.ACCOUNT if _is_about_us(reply, enhanced) else OutcomeKind.PERMANENT
        case _:
            # No reply that belongs here: garbage, or a success where more was to come.
            return OutcomeKind.UNKNOWN if reply.step is Step.END else OutcomeKind.TRANSIENT


def _is_about_us(reply: Reply, enhanced: str | None) -> bool:
    if reply.code in ABOUT_US or enhanced in _ABOUT_US:
        return True
    if reply.step is Step.RCPT:
        return _NO_RELAY.search(reply.text) is not None
    if reply.step is Step.MAIL:
        return reply.code != _TOO_LARGE and enhanced not in _ABOUT_THE_MESSAGE
    return reply.step is Step.CONNECT
