"""What a provider's answer, or its silence, comes to."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
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
    wait: timedelta | None = None
    """Throttled only, where the provider told no instant: it takes nothing for so long."""
    ours: bool = False
    """Throttled only: by ourselves. It says nothing of how fast the provider may be called."""
    about_address: bool = False
    """Transient only: the address's own trouble. It says nothing of whether the provider works."""
    suppress: SuppressionCause | None = None
    """Permanent only: the address is at fault, and why it goes on the suppression list."""

    def dated(self, now: datetime) -> "Outcome":
        """As it is, heard at `now`: a wait becomes an instant."""
        return self if self.wait is None else replace(self, not_before=self.not_before or now + self.wait, wait=None)


@dataclass(frozen=True, slots=True)
class Made:
    """A message that a provider says it has made, asked after an attempt nobody answered for."""

    provider_id: str
    at: datetime
    text: str
    outcome: Outcome
    """Accepted, or permanent where it failed; of the same provider id."""
