"""What Twilio's answers to POST Messages and its error codes mean.

Sources: https://www.twilio.com/docs/api/errors. Codes 2xxxx come at once, with an HTTP status; codes 3xxxx come later
as ErrorCode of a status callback or in the message itself. Posting a message is not idempotent: after a 5xx it may have
been sent. 20429 was not processed and is safe to repeat.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tocsin_dispatcher.providers.http import Answer, Exchange, NoAnswer, NotWritten
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.values import Outcome, OutcomeKind
from tocsin_kit.telemetry.redact import redacted_text

_K, _C = OutcomeKind, SuppressionCause


@dataclass(frozen=True, slots=True)
class CodeMeaning:
    """What an error code says, and whether the address is at fault."""

    kind: OutcomeKind
    suppress: SuppressionCause | None = None


_PERMANENT, _ACCOUNT = CodeMeaning(_K.PERMANENT), CodeMeaning(_K.ACCOUNT)
_TRANSIENT, _THROTTLED, _UNKNOWN = CodeMeaning(_K.TRANSIENT), CodeMeaning(_K.THROTTLED), CodeMeaning(_K.UNKNOWN)
_BAD_NUMBER = CodeMeaning(_K.PERMANENT, _C.BOUNCED)

CODES: Mapping[int, CodeMeaning] = {
    11200: _PERMANENT,  # our callback could not be fetched; never about a message
    20001: _PERMANENT,  # a parameter was not recognised
    20003: _ACCOUNT,  # permission denied
    20404: _ACCOUNT,  # posting a message finds everything but the account itself
    20429: _THROTTLED,
    20500: _UNKNOWN,
    20503: _UNKNOWN,  # a 5xx to a POST: it may have been sent
    21211: _BAD_NUMBER,  # not a phone number
    21212: _ACCOUNT,  # our own From is wrong, for every message
    21217: _BAD_NUMBER,  # not a phone number
    21408: _PERMANENT,  # region not enabled: says nothing about the number
    21601: _ACCOUNT,  # our From cannot send SMS
    21602: _PERMANENT,  # no body
    21603: _ACCOUNT,  # no From
    21604: _PERMANENT,  # no To
    21606: _PERMANENT,  # our From cannot reach this destination
    21608: _PERMANENT,  # a trial account, and this number is not on its list
    21609: _ACCOUNT,  # our StatusCallback is wrong, for every message
    21610: CodeMeaning(_K.PERMANENT, _C.STOPPED),  # the person sent STOP
    21611: _THROTTLED,  # our queue at Twilio is full: not taken
    21612: _BAD_NUMBER,  # not reachable by SMS
    21614: _BAD_NUMBER,  # not a mobile number
    21617: _PERMANENT,  # too long
    21619: _PERMANENT,  # neither body nor media
    21620: _PERMANENT,  # bad media URL
    21635: _BAD_NUMBER,  # a landline
    21654: _PERMANENT,  # a content parameter is missing
    21701: _ACCOUNT,  # our Messaging Service does not exist
    21703: _ACCOUNT,  # it has no number to send from
    21704: _ACCOUNT,  # it has no numbers
    21705: _ACCOUNT,  # it is invalid
    21730: _TRANSIENT,  # maintenance: not taken, try later
    30001: _TRANSIENT,  # queue overflow
    30002: _ACCOUNT,  # account suspended
    30003: _TRANSIENT,  # handset off or away
    30004: _PERMANENT,  # blocked by the person or the carrier
    30005: _BAD_NUMBER,  # unknown handset
    30006: _BAD_NUMBER,  # landline or unreachable carrier
    30007: _PERMANENT,  # filtered for its content or sender
    30008: _TRANSIENT,  # the carrier gave no reason
    30009: _PERMANENT,  # a segment of an inbound message is missing
    30010: _PERMANENT,  # dearer than the price we allowed
    30011: _PERMANENT,  # MMS not supported there
    30017: _TRANSIENT,  # carrier congested
    30022: _THROTTLED,  # carrier's rate for our campaign
    30023: _THROTTLED,  # carrier's day cap for our campaign
    30024: _ACCOUNT,  # our sender is not provisioned
    30032: _ACCOUNT,  # our toll-free number is not verified
    30034: _ACCOUNT,  # our number is not registered
    30410: _TRANSIENT,  # a provider downstream timed out
    30450: _PERMANENT,  # blocked as fraud: says nothing lasting about the number
}

HUNDREDS: Mapping[int, OutcomeKind] = {
    3: OutcomeKind.ACCOUNT,  # we follow no redirect: the base URL is wrong
    4: OutcomeKind.PERMANENT,
    5: OutcomeKind.UNKNOWN,
}
STATUSES: Mapping[int, OutcomeKind] = {
    401: OutcomeKind.ACCOUNT,
    403: OutcomeKind.ACCOUNT,
    408: OutcomeKind.UNKNOWN,
    429: OutcomeKind.THROTTLED,
}
_LONGEST_ANSWER = 300


def twilio_outcome(exchange: Exchange) -> Outcome:
    """The outcome of one POST of a message."""
    match exchange:
        case NotWritten():
            return Outcome(OutcomeKind.TRANSIENT, answer=exchange.why)
        case NoAnswer():
            return Outcome(OutcomeKind.UNKNOWN, answer=exchange.why)
        case Answer():
            return _of_answer(exchange)


def meaning(code: int | None, status: int) -> CodeMeaning:
    """What a code means; where it is not known, what the HTTP status does. A 5xx is unknown whatever its code."""
    if status >= 500:
        return _UNKNOWN
    known = None if code is None else CODES.get(code)
    return known or CodeMeaning(STATUSES.get(status) or HUNDREDS.get(status // 100, OutcomeKind.UNKNOWN))


def _of_answer(answer: Answer) -> Outcome:
    told = json_object(answer.body)
    sid, code = told.get("sid"), told.get("code")
    if 200 <= answer.status < 300:
        # A success without the message's sid is no readable answer: it is looked up.
        kind = OutcomeKind.ACCEPTED if isinstance(sid, str) else OutcomeKind.UNKNOWN
        return Outcome(kind, provider_id=sid if isinstance(sid, str) else None, status=answer.status)
    number = code if isinstance(code, int) else None
    found = meaning(number, answer.status)
    return Outcome(
        found.kind,
        status=answer.status,
        code=None if number is None else str(number),
        answer=redacted_text(str(told.get("message", "")))[:_LONGEST_ANSWER],
        suppress=found.suppress,
    )


def json_object(body: bytes) -> Mapping[str, object]:
    """The body's JSON object; empty where it is none."""
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
