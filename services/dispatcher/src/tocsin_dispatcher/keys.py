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


class OwnerKey(NamedTuple):
    """Who has a webhook endpoint: a person, or, where no user is named, the bank itself."""

    partner_id: int
    user_id: int | None
