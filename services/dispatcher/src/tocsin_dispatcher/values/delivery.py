"""A notification, the deliveries that carry it, and the attempts of a delivery."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.values.firing import AlertKind, Channel, WorkClass
from tocsin_dispatcher.values.telling import Told
from tocsin_dispatcher.values.templates import Trial
from tocsin_dispatcher.values.verifying import SealedCode


class Purpose(StrEnum):
    """What a delivery is for, as `deliveries.purpose` stores it."""

    ALERT = "alert"
    DIGEST = "digest"
    VERIFICATION = "verification"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Notification:
    """What the user sees in the inbox: exactly one per firing, with the firing's id."""

    id: UUID
    partner_id: int
    user_id: int
    alert_id: int
    kind: AlertKind
    work_class: WorkClass
    critical: bool
    daily_digest: bool
    context: Told
    """What it tells: a firing's."""
    fired_at: datetime
    title: str
    message: str
    action_url: str
    time_zone: str = ""
    """IANA name, as the evaluator knew it when it fired: counts while no profile has come. Empty: nobody knew."""
    locale: str = ""
    """BCP 47, likewise."""
    trial: Trial | None = None
    """Of a template that is tried: what it is told as. Nothing has happened then, and kind and context say nothing."""
    code: SealedCode | None = None
    """Of a verification: what is told once it is opened. Kind and context say nothing until then."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one destination on one channel, as its row stands."""

    id: UUID
    partner_id: int
    purpose: Purpose
    notification_id: UUID | None
    user_id: int
    channel: Channel
    destination_id: UUID | None
    destination: str | None
    """The address it goes to; for e-mail and SMS the contact's at the last attempt."""
    work_class: WorkClass
    status: DeliveryState
    reason: Reason | None
    due_at: datetime
    attempt: int
    """The number of the last attempt begun; 0 before the first."""
    failures: int
    """Failed attempts that cost a retry."""
    expires_at: datetime
    fact_key: str | None
    created_at: datetime
    provider: str | None = None
    provider_id: str | None = None
    token_taken: bool = False
    """Whether it has paid its rate limit token: taken once, at the first pass."""
    repeated_after_unknown: bool = False
    """Whether its one repeat after an unknown outcome has been used."""
    segments: int | None = None
    """Of an SMS, from its first attempt on that was taken or that nobody answered for."""
    merged_into: UUID | None = None
    """The delivery whose fate it follows while it is merged; and the digest it was in, once that has ended untold."""
    traceparent: str | None = None
    tracestate: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call to one provider for one delivery; written before the call."""

    partner_id: int
    delivery_id: UUID
    number: int
    provider: str
    credential: str
    """Names the credential, never the secret itself; breakers are kept by (provider, credential)."""
    started_at: datetime
    possible_duplicate: bool = False
    traceparent: str | None = None
    tracestate: str | None = None
    expires_at: datetime | None = None
    """Until when the message is of use; None where nobody has said."""


@dataclass(frozen=True, slots=True)
class SmsSize:
    """What an SMS weighs: segments, and their price in USD."""

    segments: int
    cost: Decimal
