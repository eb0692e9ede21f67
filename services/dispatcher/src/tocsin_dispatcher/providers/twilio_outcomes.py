"""What Twilio's answers to POST Messages mean.

Sources: https://www.twilio.com/docs/api/errors/20500 and .../20429. Posting a message is not idempotent: after a 5xx
it may have been sent. 20429 was not processed and is safe to repeat.
"""

from collections.abc import Mapping

from tocsin_dispatcher.provider_text import message_id, shown
from tocsin_dispatcher.providers.http import Answer, Exchange, NoAnswer, NotWritten
from tocsin_dispatcher.providers.twilio_codes import CODES, CodeMeaning
from tocsin_dispatcher.values import Outcome, OutcomeKind

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
    told = answer.told
    sid, code = message_id(told.get("sid")), told.get("code")
    if 200 <= answer.status < 300:
        # A success without the message's sid is no readable answer: it is looked up.
        kind = OutcomeKind.UNKNOWN if sid is None else OutcomeKind.ACCEPTED
        return Outcome(kind, provider_id=sid, status=answer.status)
    number = code if isinstance(code, int) else None
    found = meaning(number, answer.status)
    return Outcome(
        found.kind,
        status=answer.status,
        code=None if number is None else str(number),
        answer=shown(str(told.get("message", ""))),
        wait=answer.retry_after if found.kind is OutcomeKind.THROTTLED else None,
        suppress=found.suppress,
    )
