"""Keys that travel: every one led by its partner."""

from typing import NamedTuple
from uuid import UUID


class UserKey(NamedTuple):
    """A person, as the bank numbers them."""

    partner_id: int
    user_id: int


class DeliveryKey(NamedTuple):
    """A delivery of a partner."""

    partner_id: int
    id: UUID
