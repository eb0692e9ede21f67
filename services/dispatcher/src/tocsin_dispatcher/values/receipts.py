"""What a provider says later about an attempt or an address."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.values.firing import AlertKind, Channel


class ReceiptEffect(StrEnum):
    """What a receipt does to the delivery it is about."""

    SENT = "sent"
    """The provider has it: settles an unknown outcome, else nothing."""
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    FAILED = "failed"
    OPENED = "opened"
    """Recorded; it marks nothing read."""
    OPENED_BY_MACHINE = "opened_by_machine"
    """Recorded; nobody has seen it."""
    CLICKED = "clicked"
    NOTED = "noted"
    """Recorded, and nothing else."""


class ManyKinds(StrEnum):
    """What the link of a message is about that tells of no one kind of alert."""

    ALERTS = "alerts"
    """Alerts of every kind, as a digest tells them: the user switches them on again in the preferences."""
    ALL = "all"
    """Whatever comes: the address is suppressed, and only the bank takes that back."""


@dataclass(frozen=True, slots=True)
class KindSwitch:
    """A user switched off what a link is about, on one channel."""

    partner_id: int
    user_id: int
    kind: AlertKind | ManyKinds
    channel: Channel


@dataclass(frozen=True, slots=True)
class Receipt:
    """One event of a callback."""

    provider: str
    event_key: str
    """Unique per provider: the same event told twice has the same key."""
    effect: ReceiptEffect
    at: datetime
    name: str = ""
    """What the provider calls it: `deferred`, `spamreport`, `undelivered`, `STOP`."""
    partner_id: int | None = None
    delivery_id: UUID | None = None
    """Ours, where the event carries it: matches first."""
    attempt: int | None = None
    message_id: str | None = None
    """The provider's: equal to `deliveries.provider_id`, or (SendGrid) begins with it and a dot."""
    channel: Channel = Channel.EMAIL
    address: str | None = None
    suppress: SuppressionCause | None = None
    """The address goes on the suppression list, with this cause."""
    lift: SuppressionCause | None = None
    """This cause comes off the suppression list for the address."""
    lift_only_of: str | None = None
    """Only where this event of the provider's put it there; None: whatever did."""
    switch_off: KindSwitch | None = None
    code: str | None = None
    detail: str = ""
    """Short and redacted: for an operator."""
    traceparent: str | None = None
    """The callback's own trace, where it is known."""
