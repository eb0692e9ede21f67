"""Did an SMS leave of which we heard nothing? Asked of Twilio's list of messages, by To and date."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from tocsin_dispatcher.providers.http import Answer, Exchange, HttpClient, Request
from tocsin_dispatcher.providers.twilio import TwilioAccount
from tocsin_dispatcher.providers.twilio_outcomes import json_object
from tocsin_dispatcher.values import Attempt, Outcome, OutcomeKind

_BEFORE = timedelta(seconds=2)
"""Twilio's dates are whole seconds, by its own clock."""
_AFTER = timedelta(seconds=60)
"""Longer than a call's time limit: a message made later is another attempt's."""
_LOST = frozenset({"failed", "undelivered", "canceled"})


class TwilioLookUp:
    """Looks for the message that an attempt may have made."""

    def __init__(self, account: TwilioAccount, http: HttpClient) -> None:
        self._account = account
        self._http = http

    async def find(self, to: str, attempt: Attempt, taken: frozenset[str]) -> Outcome:
        """Accepted or permanent: found, transient: it never had it, unknown: it could not say."""
        day = attempt.started_at.astimezone(UTC).date()
        query = {"To": to, "DateSent>": day.isoformat(), "PageSize": "200"}

        def judge(exchange: Exchange) -> Outcome:
            return look_up_outcome(exchange, attempt.started_at, taken)

        request = Request("GET", self._account.messages_url, self._account.headers, query=query)
        return await self._http.call(request, attempt, judge)


def look_up_outcome(exchange: Exchange, started_at: datetime, taken: frozenset[str]) -> Outcome:
    """What the list says about a message that was begun at `started_at` and is none of `taken`."""
    if not isinstance(exchange, Answer) or exchange.status != 200:
        status = exchange.status if isinstance(exchange, Answer) else None
        return Outcome(OutcomeKind.UNKNOWN, status=status, answer="the look-up failed")
    listed = json_object(exchange.body).get("messages")
    if not isinstance(listed, list):
        return Outcome(OutcomeKind.UNKNOWN, status=exchange.status, answer="the look-up failed")
    found = _made_by_attempt(listed, started_at, taken)
    if found is None:
        return Outcome(OutcomeKind.TRANSIENT, status=exchange.status, answer="looked up: never arrived")
    lost = found.get("status") in _LOST
    return Outcome(
        OutcomeKind.PERMANENT if lost else OutcomeKind.ACCEPTED,
        provider_id=str(found["sid"]),
        status=exchange.status,
        code=str(found["error_code"]) if found.get("error_code") else None,
        answer=f"looked up: {found.get('status')}",
    )


def _made_by_attempt(
    listed: Iterable[object], started_at: datetime, taken: frozenset[str]
) -> Mapping[str, object] | None:
    """The earliest message made within the attempt's time that is not known as another delivery's."""
    made = [
        (created, message)
        for message in listed
        if isinstance(message, dict) and message.get("sid") not in taken
        if (created := _instant(message.get("date_created"))) is not None
        if started_at - _BEFORE <= created <= started_at + _AFTER
    ]
    return min(made, key=lambda pair: pair[0])[1] if made else None


def _instant(text: object) -> datetime | None:
    """An RFC 2822 date, as Twilio writes them."""
    try:
        parsed = parsedate_to_datetime(str(text))
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
