"""What happens to a delivery besides attempts and receipts, as its history keeps it."""

from enum import StrEnum


class Happening(StrEnum):
    """As `delivery_events.happening` stores it."""

    HELD = "held"
    WAITING = "waiting"
    """For a provider whose breaker is open."""
    RECHECKED = "rechecked"
    """The evaluator was asked, and its alert stands."""
    SUPPRESSED = "suppressed"
    MERGED = "merged"
    RELEASED = "released"
    """What it had been merged into ended untold."""
    EXPIRED = "expired"
    RETRIED = "retried"
    """A person has it tried again."""
