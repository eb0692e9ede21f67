"""What the gate looks at before every attempt, and what it answers."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from tocsin_dispatcher.reasons import Reason, SuppressionCause
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.values.delivery import Delivery, Notification
from tocsin_dispatcher.values.destinations import Destination
from tocsin_dispatcher.values.recipient import Contact, PartnerSettings, Preferences


class AlertStanding(StrEnum):
    """What the evaluator says about a firing's alert now."""

    HOLDS = "holds"
    """Still true, or of a kind that stays true, or not asked, or no answer in time."""
    NO_LONGER_TRUE = "no_longer_true"
    ALERT_GONE = "alert_gone"
    SNOOZED = "snoozed"


@dataclass(frozen=True, slots=True)
class Counts:
    """Messages of one user on one channel in the window now, as `counters` holds them."""

    this_hour: int = 0
    today: int = 0
    """The local day's."""
    critical_this_hour: int = 0


@dataclass(frozen=True, slots=True)
class SameFact:
    """Another living delivery to the same user and channel about the same purchase."""

    delivery_id: UUID
    status: DeliveryState
    critical: bool
    daily_digest: bool


@dataclass(frozen=True, slots=True)
class Recipient:
    """All that is known of the person at the moment of an attempt."""

    contact: Contact | None
    preferences: Preferences
    partner: PartnerSettings
    suppressed: SuppressionCause | None = None
    """Of the address this delivery goes to, on its channel."""
    counts: Counts = Counts()
    standing: AlertStanding = AlertStanding.HOLDS
    same_fact: SameFact | None = None
    """Where another delivery tells its fact: one that has the key to it tells it itself."""
    destination: Destination | None = None
    """Of a push message or a webhook; None where it is gone."""


@dataclass(frozen=True, slots=True)
class GateRules:
    """The deployment's settings that the gate obeys."""

    unverified_email_allowed: bool = True
    critical_per_hour: int = 30


@dataclass(frozen=True, slots=True)
class GateCase:
    """One delivery before an attempt: what every stage of the gate looks at."""

    delivery: Delivery
    notification: Notification
    recipient: Recipient
    now: datetime
    rules: GateRules = GateRules()


@dataclass(frozen=True, slots=True)
class Proceed:
    """Send it now, once a rate limit token is taken where one is still owed."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait until an instant; `expires_at` is the delivery's expiry, moved by the time it is held."""

    until: datetime
    reason: Reason
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Suppress:
    """Never send it."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Merge:
    """Another delivery says it already; this one follows that one's fate."""

    into: UUID
    reason: Reason = Reason.MERGED


@dataclass(frozen=True, slots=True)
class Expire:
    """Too late to be of use."""

    reason: Reason = Reason.EXPIRED


GateVerdict = Proceed | Hold | Suppress | Merge | Expire


@dataclass(frozen=True, slots=True)
class Displace:
    """Send this one; the other, still waiting, merges into it."""

    other: UUID


@dataclass(frozen=True, slots=True)
class GoAlone:
    """Send both: the other has left already and was not critical; it gives up its key to the fact, so that should it
    come back to be retried, it merges into this one."""

    other: UUID


SameFactDecision = Merge | Displace | GoAlone
