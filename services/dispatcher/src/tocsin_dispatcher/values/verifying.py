"""A code on its way to the person who asked for it."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class SealedCode:
    """What a verification's message brings; nobody but who sends it opens it."""

    delivery_id: UUID
    sealed: bytes = field(repr=False)
    """Empty where the code was used already, or another one was asked for since."""
    expires_at: datetime
