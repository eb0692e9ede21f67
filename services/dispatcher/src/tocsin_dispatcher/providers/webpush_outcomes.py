"""What a push service's answers mean.

Sources: RFC 8030, 5 to 8 (201 created, 404 and 410 gone, 413 too large, 429 with Retry-After); RFC 8292, 4.2 (401 and
403); https://autopush.readthedocs.io/en/latest/http.html#error-codes.
"""

from collections.abc import Mapping

from tocsin_dispatcher.provider_text import shown
from tocsin_dispatcher.providers.http import Answer, Exchange, NoAnswer, NotWritten
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.values import Outcome, OutcomeKind

STATUSES: Mapping[int, OutcomeKind] = {
    400: OutcomeKind.PERMANENT,
    # Our key is not the one the browser subscribed with, or not taken at all. Not an account's fault, which would stop
    # everybody's messages at once: any user can bring it about by subscribing with a key of their own. Nor does it
    # count against the push service (`_ABOUT_SUBSCRIPTION`), or a few such browsers would stop them.
    401: OutcomeKind.TRANSIENT,
    403: OutcomeKind.TRANSIENT,
    404: OutcomeKind.PERMANENT,
    408: OutcomeKind.TRANSIENT,
    410: OutcomeKind.PERMANENT,
    413: OutcomeKind.PERMANENT,
    429: OutcomeKind.THROTTLED,
}
"""Statuses by name; others by hundreds."""

HUNDREDS: Mapping[int, OutcomeKind] = {
    2: OutcomeKind.ACCEPTED,
    # We follow no redirect: a push service asks for none.
    3: OutcomeKind.PERMANENT,
    4: OutcomeKind.PERMANENT,
    5: OutcomeKind.TRANSIENT,
}

_ABOUT_SUBSCRIPTION = frozenset({401, 403})
"""Whatever else they say, as Retry-After: nobody else's messages wait for it."""

_GONE = frozenset({404, 410})
"""The browser unsubscribed: nothing will ever reach it there."""


def webpush_outcome(exchange: Exchange) -> Outcome:
    """The outcome of one call."""
    match exchange:
        case NotWritten():
            kind = OutcomeKind.PERMANENT if exchange.refused else OutcomeKind.TRANSIENT
            return Outcome(kind, answer=exchange.why)
        case NoAnswer():
            return Outcome(OutcomeKind.UNKNOWN, answer=exchange.why)
        case Answer():
            return _of_answer(exchange)


def _of_answer(answer: Answer) -> Outcome:
    kind = STATUSES.get(answer.status) or HUNDREDS.get(answer.status // 100, OutcomeKind.UNKNOWN)
    about_address = answer.status in _ABOUT_SUBSCRIPTION
    if kind is OutcomeKind.TRANSIENT and answer.retry_after is not None and not about_address:
        kind = OutcomeKind.THROTTLED
    if kind is OutcomeKind.ACCEPTED:
        return Outcome(kind, status=answer.status)
    return Outcome(
        kind,
        status=answer.status,
        answer=shown(answer.body.decode("utf-8", "replace")),
        wait=answer.retry_after if kind is OutcomeKind.THROTTLED else None,
        about_address=about_address,
        suppress=SuppressionCause.DISABLED if answer.status in _GONE else None,
    )
