"""UUIDv7 (RFC 9562, section 5.7). Nothing may read time out of an id: it only keeps inserts near each other."""

from __future__ import annotations

import secrets
from random import Random
from typing import Protocol
from uuid import UUID

from tocsin_kit.clock import Clock


class Ids(Protocol):
    """Makes ids."""

    def uuid7(self) -> UUID:
        """A new UUIDv7."""
        ...


def _uuid7(milliseconds: int, chance: int) -> UUID:
    value = (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | (chance >> 62 & 0xFFF) << 64 | 0b10 << 62
    return UUID(int=value | chance & (1 << 62) - 1)


class SystemIds:
    """Ids by the system's secure chance."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def uuid7(self) -> UUID:
        """A new UUIDv7."""
        return _uuid7(int(self._clock.now().timestamp() * 1000), secrets.randbits(74))


class SeededIds:
    """The same ids in each run of a simulation."""

    def __init__(self, seed: int, clock: Clock) -> None:
        self._random = Random(seed)  # noqa: S311 - repeatable on purpose
        self._clock = clock

    def uuid7(self) -> UUID:
        """The next UUIDv7 of the series."""
        return _uuid7(int(self._clock.now().timestamp() * 1000), self._random.getrandbits(74))
