"""What could not be read of a callback."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A part of a callback that is no event, for the dead letters."""

    raw: bytes
    why: str
