"""SendGrid's event webhook: a JSON array of events, of many messages, in any order, repeated until answered with 2xx.

Source: https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event. Unknown keys and unknown events
pass; custom arguments come back flat, in the event itself. An asynchronous bounce has no sg_message_id.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from tocsin_dispatcher.provider_text import LARGEST_ATTEMPT, LONGEST_NAME, shown, storable, whole_number
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.receipts.unreadable import Unreadable
from tocsin_dispatcher.values import Channel, Receipt, ReceiptEffect

Event = Mapping[str, object]
_LATEST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59Z


@dataclass(frozen=True, slots=True)
class _Meaning:
    effect: ReceiptEffect
    suppress: SuppressionCause | None = None
    lift: SuppressionCause | None = None
    lift_only_of: str | None = None


def _always(effect: ReceiptEffect, suppress: SuppressionCause | None = None) -> Callable[[Event], _Meaning]:
    meaning = _Meaning(effect, suppress)

    def means(_event: Event) -> _Meaning:
        return meaning

    return means


_noted = _always(ReceiptEffect.NOTED)


def _bounce(event: Event) -> _Meaning:
    # type "blocked" is temporary: the address is good.
    if event.get("type") == "blocked":
        return _Meaning(ReceiptEffect.FAILED)
    return _Meaning(ReceiptEffect.BOUNCED, SuppressionCause.BOUNCED)


def _open(event: Event) -> _Meaning:
    is_machine = event.get("sg_machine_open") is True
    return _Meaning(ReceiptEffect.OPENED_BY_MACHINE if is_machine else ReceiptEffect.OPENED)


def _resubscribed(_event: Event) -> _Meaning:
    # It takes back what leaving the group did; not an unsubscription from everything, nor one by our own link.
    return _Meaning(ReceiptEffect.NOTED, lift=SuppressionCause.UNSUBSCRIBED, lift_only_of="group_unsubscribe")


_DROPPED_FOR = {
    "unsubscribed address": SuppressionCause.UNSUBSCRIBED,
    "spam reporting address": SuppressionCause.COMPLAINED,
    "bounced address": SuppressionCause.BOUNCED,
    "invalid": SuppressionCause.BOUNCED,
}


def _dropped(event: Event) -> _Meaning:
    # SendGrid did not send: its own lists say why; a drop for another reason is about the message.
    reason = str(event.get("reason", "")).strip().casefold()
    return _Meaning(ReceiptEffect.FAILED, _DROPPED_FOR.get(reason))


MEANINGS: Mapping[str, Callable[[Event], _Meaning]] = {
    "processed": _always(ReceiptEffect.SENT),
    "deferred": _always(ReceiptEffect.SENT),
    "delivered": _always(ReceiptEffect.DELIVERED),
    "bounce": _bounce,
    "dropped": _dropped,
    "open": _open,
    "click": _always(ReceiptEffect.CLICKED),
    "spamreport": _always(ReceiptEffect.NOTED, SuppressionCause.COMPLAINED),
    "unsubscribe": _always(ReceiptEffect.NOTED, SuppressionCause.UNSUBSCRIBED),
    "group_unsubscribe": _always(ReceiptEffect.NOTED, SuppressionCause.UNSUBSCRIBED),
    "group_resubscribe": _resubscribed,
    "account_status_change": _noted,
}
"""What each event means; one that is not named here is noted."""


def sendgrid_receipts(body: bytes, callback_id: str, received_at: datetime) -> Sequence[Receipt | Unreadable]:
    """The receipts of one call of the webhook."""
    try:
        events = json.loads(body)
    except (ValueError, RecursionError):
        return (Unreadable("not JSON"),)
    if not isinstance(events, list):
        return (Unreadable("not an array"),)
    return tuple(_receipt(event, f"{callback_id}:{place}", received_at) for place, event in enumerate(events))


def _receipt(event: object, own_key: str, received_at: datetime) -> Receipt | Unreadable:
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return Unreadable("an event without a name")
    name = event["event"].casefold()
    meaning = MEANINGS.get(name, _noted)(event)
    address = event.get("email")
    return Receipt(
        provider="sendgrid",
        event_key=_event_key(event, name, own_key),
        effect=meaning.effect,
        name=storable(name)[:LONGEST_NAME],
        at=_instant(event.get("timestamp")) or received_at,
        partner_id=whole_number(event.get("partner_id")),
        delivery_id=_uuid(event.get("delivery_id")),
        attempt=whole_number(event.get("delivery_attempt"), LARGEST_ATTEMPT),
        message_id=storable(str(event.get("sg_message_id", "")).strip()) or None,
        channel=Channel.EMAIL,
        address=storable(address) if isinstance(address, str) else None,
        suppress=meaning.suppress,
        lift=meaning.lift,
        lift_only_of=meaning.lift_only_of,
        code=storable(str(event["status"])) if event.get("status") is not None else None,
        detail=_detail(event, name),
    )


def _event_key(event: Event, name: str, own_key: str) -> str:
    """sg_event_id (case matters) with event and type: the examples give a bounce and a block one id."""
    event_id = event.get("sg_event_id")
    if not isinstance(event_id, str) or not event_id:
        return own_key
    kind = event.get("type")
    parts = (event_id, name, kind) if name == "bounce" and isinstance(kind, str) else (event_id, name)
    return storable(":".join(parts))


def _detail(event: Event, name: str) -> str:
    said = event.get("reason") or event.get("response") or event.get("type") or ""
    return shown(f"{name} {said}".strip())


def _instant(value: object) -> datetime | None:
    """Unix seconds as a number or text; some of SendGrid's own examples have milliseconds."""
    number = whole_number(value)
    if number is None:
        return None
    seconds = number / 1000 if number > _LATEST_SECOND else number
    return datetime.fromtimestamp(seconds, UTC) if seconds <= _LATEST_SECOND else None


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None
