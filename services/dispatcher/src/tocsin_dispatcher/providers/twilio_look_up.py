"""Which messages Twilio has made to a number: asked after an attempt nobody answered for."""

from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from tocsin_dispatcher.provider_text import message_id, shown, whole_number
from tocsin_dispatcher.providers.http import Answer, Exchange, HttpClient, Request
from tocsin_dispatcher.providers.twilio import TwilioAccount
from tocsin_dispatcher.providers.twilio_codes import CODES
from tocsin_dispatcher.values import Attempt, Made, Outcome, OutcomeKind

_LOST = frozenset({"failed", "undelivered", "canceled"})


class TwilioLookUp:
    """Reads the account's list of messages, by To and date."""

    def __init__(self, account: TwilioAccount, http: HttpClient) -> None:
        self._account = account
        self._http = http

    async def made(self, to: str, attempt: Attempt) -> Sequence[Made] | None:
        """The messages made to a number from the day of `attempt` on; None where Twilio could not say."""
        day = attempt.started_at.astimezone(UTC).date()
        query = {"To": to, "DateSent>": day.isoformat(), "PageSize": "200"}
        request = Request("GET", self._account.messages_url, self._account.headers, query=query)
        return listed(await self._http.ask(request, attempt))


def listed(exchange: Exchange) -> Sequence[Made] | None:
    """The messages of an answer; None where it is no list. An entry that cannot be read is left out."""
    if not isinstance(exchange, Answer) or exchange.status != 200:
        return None
    messages = exchange.told.get("messages")
    if not isinstance(messages, list):
        return None
    return [made for message in messages if isinstance(message, dict) if (made := _made(message)) is not None]


def _made(message: dict[str, object]) -> Made | None:
    sid, at = message_id(message.get("sid")), _instant(message.get("date_created"))
    if sid is None or at is None:
        return None
    return Made(sid, at, str(message.get("body") or ""), _outcome(sid, message))


def _outcome(sid: str, message: dict[str, object]) -> Outcome:
    lost = message.get("status") in _LOST
    code = whole_number(message.get("error_code"))
    meaning = None if code is None else CODES.get(code)
    return Outcome(
        OutcomeKind.PERMANENT if lost else OutcomeKind.ACCEPTED,
        provider_id=sid,
        code=None if code is None else str(code),
        answer=shown(f"looked up: {message.get('status')}"),
        suppress=meaning.suppress if lost and meaning is not None else None,
    )


def _instant(text: object) -> datetime | None:
    """An RFC 2822 date, as Twilio writes them."""
    try:
        parsed = parsedate_to_datetime(str(text))
    except (ValueError, OverflowError):
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
