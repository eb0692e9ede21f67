"""What a provider's answer, or its silence, comes to."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tocsin_dispatcher.reasons import SuppressionCause


class OutcomeKind(StrEnum):
    """What became of an attempt, as `attempts.outcome` stores it."""

    ACCEPTED = "accepted"
    THROTTLED = "throttled"
    TRANSIENT = "transient"
    PERMANENT = "permanent"
    ACCOUNT = "account"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt's result."""

    kind: OutcomeKind
    provider_id: str | None = None
    """The provider's name for the message, where it was accepted."""
    status: int | None = None
    """The HTTP status, where there was an answer."""
    code: str | None = None
    """The provider's own error code."""
    answer: str = ""
    """Short and redacted: for an operator, never with an address."""
    not_before: datetime | None = None
    """Throttled only: the provider takes nothing before."""
    suppress: SuppressionCause | None = None
    """Permanent only: the address is at fault, and why it goes on the suppression list."""
