"""What SendGrid's answers to POST /v3/mail/send mean.

Sources: Mail Send errors and rate limits in https://www.twilio.com/docs/sendgrid/api-reference: 202 is accepted with
the id in X-Message-Id, 200 is sandbox mode; every error of the message itself is 400; 401 and 403 are about the
account; 429 carries X-RateLimit-Reset in unix seconds. It documents a 5xx as safe to repeat.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from tocsin_dispatcher.provider_text import message_id, shown
from tocsin_dispatcher.providers.http import Answer, Exchange, NoAnswer, NotWritten
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.values import Outcome, OutcomeKind

STATUSES: Mapping[int, OutcomeKind] = {
    200: OutcomeKind.ACCEPTED,
    202: OutcomeKind.ACCEPTED,
    400: OutcomeKind.PERMANENT,
    401: OutcomeKind.ACCOUNT,
    403: OutcomeKind.ACCOUNT,
    404: OutcomeKind.PERMANENT,
    405: OutcomeKind.PERMANENT,
    # The whole request did not arrive in time, so nothing was queued.
    408: OutcomeKind.TRANSIENT,
    413: OutcomeKind.PERMANENT,
    415: OutcomeKind.PERMANENT,
    429: OutcomeKind.THROTTLED,
}
"""Statuses by name; others by hundreds."""

HUNDREDS: Mapping[int, OutcomeKind] = {
    2: OutcomeKind.ACCEPTED,
    # We follow no redirect: the base URL is wrong, for every message.
    3: OutcomeKind.ACCOUNT,
    4: OutcomeKind.PERMANENT,
    5: OutcomeKind.TRANSIENT,
}

_FIELD_OF_RECIPIENT = re.compile(r"personalizations\.\d+\.to\.\d+\.email")


def sendgrid_outcome(exchange: Exchange) -> Outcome:
    """The outcome of one call."""
    match exchange:
        case NotWritten():
            return Outcome(OutcomeKind.TRANSIENT, answer=exchange.why)
        case NoAnswer():
            return Outcome(OutcomeKind.UNKNOWN, answer=exchange.why)
        case Answer():
            return _of_answer(exchange)


def _of_answer(answer: Answer) -> Outcome:
    kind = STATUSES.get(answer.status) or HUNDREDS.get(answer.status // 100, OutcomeKind.UNKNOWN)
    if kind is OutcomeKind.ACCEPTED:
        return Outcome(kind, provider_id=message_id(answer.headers.get("x-message-id")), status=answer.status)
    messages, fields = _errors(answer.told)
    # The recipient's address itself was refused: no message to it will ever be taken.
    bad_address = answer.status == 400 and any(_FIELD_OF_RECIPIENT.fullmatch(field) for field in fields)
    return Outcome(
        kind,
        status=answer.status,
        answer=shown("; ".join(messages)),
        not_before=_reset(answer) if kind is OutcomeKind.THROTTLED else None,
        wait=answer.retry_after if kind is OutcomeKind.THROTTLED else None,
        suppress=SuppressionCause.BOUNCED if bad_address else None,
    )


def _errors(told: Mapping[str, object]) -> tuple[list[str], list[str]]:
    """The messages and the fields of an error body; nothing of a body of another form (413's may be HTML)."""
    errors = told.get("errors")
    known = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    return [str(error.get("message")) for error in known], [str(error.get("field")) for error in known]


def _reset(answer: Answer) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(answer.headers["x-ratelimit-reset"]), UTC)
    except (KeyError, ValueError, OverflowError, OSError):
        return None
