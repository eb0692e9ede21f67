"""Trying an address out: one message now, outside of all queues, and what came of it."""

from datetime import timedelta

from tocsin_dispatcher.values import Attempt
from tocsin_kit.clock import Clock
from tocsin_kit.ids import Ids

PAUSE = timedelta(seconds=5)
"""From one try of an address to the next."""
_OF_USE = timedelta(minutes=1)


def attempt_to_try(partner_id: int, provider: str, guarded: str, clock: Clock, ids: Ids) -> Attempt:
    """The only attempt of a message that no delivery stands for."""
    now = clock.now()
    return Attempt(partner_id, ids.uuid7(), 1, provider, guarded, now, expires_at=now + _OF_USE)
