"""The one-click link of an e-mail (RFC 8058): POST to `/u/{token}`, taken in by the gateway as a callback."""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlsplit

from tocsin_dispatcher.receipts.unreadable import Unreadable
from tocsin_dispatcher.unsubscribe import UnsubscribeLinks
from tocsin_dispatcher.values import Receipt, ReceiptEffect


def unsubscribe_receipts(
    url: str, callback_id: str, received_at: datetime, links: UnsubscribeLinks
) -> Sequence[Receipt | Unreadable]:
    """The receipt of one click: what its token switches off."""
    switch = links.read(urlsplit(url).path.rsplit("/", 1)[-1])
    if switch is None:
        return (Unreadable("an unsubscribe link that is none of ours"),)
    return (
        Receipt(
            provider="unsubscribe",
            event_key=callback_id,
            effect=ReceiptEffect.NOTED,
            at=received_at,
            name="one-click",
            partner_id=switch.partner_id,
            channel=switch.channel,
            switch_off=switch,
            detail="one-click unsubscribe",
        ),
    )
