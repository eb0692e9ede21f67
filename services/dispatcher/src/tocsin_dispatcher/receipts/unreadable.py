"""What could not be read of a callback."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A part of a callback that is no event: the callback goes to the dead letters for it, with all its bytes."""

    why: str
