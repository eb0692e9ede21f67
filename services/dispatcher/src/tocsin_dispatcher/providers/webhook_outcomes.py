"""What the answers of a webhook endpoint mean.

Source: Standard Webhooks, "Deliverability and Reliability" (https://github.com/standard-webhooks/standard-webhooks):
2xx is success, 410 asks for no more, 429, 502 and 504 ask for patience, anything else is a failure to be tried again; a
redirect is one too. What an endpoint writes into its answer is nobody's business but its own, so it is not kept.
"""

from collections.abc import Mapping

from tocsin_dispatcher.providers.http import Answer, Exchange, NoAnswer, NotWritten
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.values import Outcome, OutcomeKind

STATUSES: Mapping[int, OutcomeKind] = {
    410: OutcomeKind.PERMANENT,
    429: OutcomeKind.THROTTLED,
}
"""Statuses by name; a success is 2xx, and whatever is neither is tried again."""

_ASK_FOR_PATIENCE = frozenset({502, 503, 504})
"""Throttled where they say for how long, in Retry-After."""


def webhook_outcome(exchange: Exchange) -> Outcome:
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
    kind = _kind(answer)
    return Outcome(
        kind,
        status=answer.status,
        answer="" if kind is OutcomeKind.ACCEPTED else f"HTTP {answer.status}",
        wait=answer.retry_after if kind is OutcomeKind.THROTTLED else None,
        suppress=SuppressionCause.DISABLED if answer.status == 410 else None,
    )


def _kind(answer: Answer) -> OutcomeKind:
    if 200 <= answer.status < 300:
        return OutcomeKind.ACCEPTED
    if answer.status in _ASK_FOR_PATIENCE and answer.retry_after is not None:
        return OutcomeKind.THROTTLED
    return STATUSES.get(answer.status, OutcomeKind.TRANSIENT)
