"""What Twilio's answers to POST Messages mean.

Sources: https://www.twilio.com/docs/api/errors/20500 and .../20429. Posting a message is not idempotent: after a 5xx
it may have been sent. 20429 was not processed and is safe to repeat.
"""

import json
from collections.abc import Mapping

from tocsin_dispatcher.providers.http import Answer, Exchange, NoAnswer, NotWritten
from tocsin_dispatcher.providers.twilio_codes import CODES, CodeMeaning
from tocsin_dispatcher.values import Outcome, OutcomeKind
from tocsin_kit.telemetry.redact import redacted_text

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
        return CodeMeaning(OutcomeKind.UNKNOWN)
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
