"""Which reader a callback belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tocsin_dispatcher.receipts.sendgrid import sendgrid_receipts
from tocsin_dispatcher.receipts.twilio import twilio_inbound_receipts, twilio_status_receipts
from tocsin_dispatcher.receipts.unreadable import Unreadable
from tocsin_dispatcher.receipts.unsubscribe import unsubscribe_receipts
from tocsin_dispatcher.unsubscribe import UnsubscribeLinks
from tocsin_dispatcher.values import Receipt


@dataclass(frozen=True, slots=True)
class Callback:
    """A provider's callback, verified by the gateway, exactly as it came."""

    id: str
    """The gateway's row: names a receipt whose event carries no key of its own."""
    provider: str
    """`sendgrid`, `twilio-status`, `twilio-inbound` or `unsubscribe`."""
    received_at: datetime
    url: str
    body: bytes


def receipts_of(callback: Callback, links: UnsubscribeLinks) -> Sequence[Receipt | Unreadable]:
    """The callback's receipts, in its order."""
    match callback.provider:
        case "sendgrid":
            return sendgrid_receipts(callback.body, callback.id, callback.received_at)
        case "twilio-status":
            return twilio_status_receipts(callback.body, callback.url, callback.received_at)
        case "twilio-inbound":
            return twilio_inbound_receipts(callback.body, callback.received_at)
        case "unsubscribe":
            return unsubscribe_receipts(callback.url, callback.id, callback.received_at, links)
        case other:
            return (Unreadable(f"nobody reads callbacks of {other}"),)
