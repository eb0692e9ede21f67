"""Twilio's callbacks: what became of an SMS, and what people send back.

Sources: https://www.twilio.com/docs/messaging/guides/track-outbound-message-status and .../guides/webhook-request; for
the words https://help.twilio.com/articles/223134027 and .../docs/messaging/tutorials/advanced-opt-out.
Callbacks are best effort, in any order, possibly before our own call returned; our delivery and attempt are in the URL.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from tocsin_dispatcher.provider_text import LARGEST_ATTEMPT, LONGEST_NAME, shown, storable, whole_number
from tocsin_dispatcher.providers.twilio_codes import CODES
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.receipts.unreadable import Unreadable
from tocsin_dispatcher.values import Channel, Receipt, ReceiptEffect

STATUSES: Mapping[str, ReceiptEffect] = {
    "accepted": ReceiptEffect.SENT,
    "scheduled": ReceiptEffect.SENT,
    "queued": ReceiptEffect.SENT,
    "sending": ReceiptEffect.SENT,
    "sent": ReceiptEffect.SENT,
    "delivered": ReceiptEffect.DELIVERED,
    "partially_delivered": ReceiptEffect.DELIVERED,
    "read": ReceiptEffect.DELIVERED,
    # failed is Twilio, undelivered the carrier
    "failed": ReceiptEffect.FAILED,
    "undelivered": ReceiptEffect.FAILED,
    "canceled": ReceiptEffect.FAILED,
    # of messages to us
    "receiving": ReceiptEffect.NOTED,
    "received": ReceiptEffect.NOTED,
}
"""What each status means; one that is not named here is noted."""

STOP_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "OPTOUT", "REVOKE"})
START_WORDS = frozenset({"START", "UNSTOP", "YES"})
HELP_WORDS = frozenset({"HELP", "INFO"})
"""Twilio answers all three itself, so that we answer none."""
_WISHES: Mapping[str, str] = {
    **dict.fromkeys(STOP_WORDS, "STOP"),
    **dict.fromkeys(START_WORDS, "START"),
    **dict.fromkeys(HELP_WORDS, "HELP"),
}


def twilio_status_receipts(body: bytes, url: str, received_at: datetime) -> Sequence[Receipt | Unreadable]:
    """The receipt of a status callback; `url` is the one it was posted to, which carries our ids."""
    form = _form(body)
    sid = storable(form.get("MessageSid") or form.get("SmsSid") or "")
    status = storable(form.get("MessageStatus") or form.get("SmsStatus") or "")
    if not sid or not status:
        return (Unreadable("a status callback without sid or status"),)
    ours = {name: values[-1] for name, values in parse_qs(urlsplit(url).query).items()}
    code = storable(form.get("ErrorCode", "")) or None
    effect = STATUSES.get(status, ReceiptEffect.NOTED)
    return (
        Receipt(
            provider="twilio",
            event_key=storable(f"{sid}:{status}"),
            effect=effect,
            at=received_at,
            name=status[:LONGEST_NAME],
            partner_id=whole_number(ours.get("partner_id")),
            delivery_id=_uuid(ours.get("delivery_id")),
            attempt=whole_number(ours.get("attempt"), LARGEST_ATTEMPT),
            message_id=sid,
            channel=Channel.SMS,
            address=storable(form.get("To", "")) or None,
            suppress=_bad_number(code) if effect is ReceiptEffect.FAILED else None,
            code=code,
            detail=shown(status if code is None else f"{status} {code}"),
        ),
    )


def twilio_inbound_receipts(body: bytes, received_at: datetime) -> Sequence[Receipt | Unreadable]:
    """The receipt of a message from a person: STOP suppresses their number, START lifts what STOP set."""
    form = _form(body)
    sid = storable(form.get("MessageSid") or form.get("SmsSid") or "")
    sender = storable(form.get("From", ""))
    if not sid or not sender:
        return (Unreadable("an inbound message without sid or sender"),)
    wish = _wish(form)
    return (
        Receipt(
            provider="twilio",
            event_key=f"{sid}:received",
            effect=ReceiptEffect.NOTED,
            at=received_at,
            channel=Channel.SMS,
            address=sender,
            name=wish,
            suppress=SuppressionCause.STOPPED if wish == "STOP" else None,
            lift=SuppressionCause.STOPPED if wish == "START" else None,
            detail=wish,
        ),
    )


def _wish(form: Mapping[str, str]) -> str:
    """STOP, START, HELP, or `inbound` for what says none of them. What Twilio has understood (it may know further words
    of the account's) comes first. Marks around and within a STOP do not matter (`Stop.`, `STOP ALL`); who wants texts
    again says so plainly, as Twilio wants it."""
    understood = form.get("OptOutType", "").strip().upper()
    if understood in ("STOP", "START", "HELP"):
        return understood
    said = form.get("Body", "").strip().upper()
    if "".join(mark for mark in said if mark.isalpha()) in STOP_WORDS:
        return "STOP"
    return _WISHES.get(said, "inbound")


def _bad_number(code: str | None) -> SuppressionCause | None:
    """Why a failed message's number is at fault, where its code says so."""
    number = whole_number(code)
    found = None if number is None else CODES.get(number)
    return None if found is None else found.suppress


def _form(body: bytes) -> dict[str, str]:
    """The form's parameters; of a repeated one the last. Bytes that are no UTF-8 are replaced."""
    pairs = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[-1] for name, values in pairs.items()}


def _uuid(text: str | None) -> UUID | None:
    try:
        return None if text is None else UUID(text)
    except ValueError:
        return None
