"""A template that fails again and again is not tried for a while: its messages would wait for nothing."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from uuid import UUID

FAILURES = 3
WITHIN = timedelta(minutes=1)
PAUSE = timedelta(minutes=5)


class Quarantine:
    """Which versions are not tried now, as this process saw them fail."""

    def __init__(self) -> None:
        self._failed: dict[UUID, deque[datetime]] = {}
        self._barred: dict[UUID, datetime] = {}

    def bars(self, version: UUID, now: datetime) -> bool:
        """Whether it is left alone."""
        until = self._barred.get(version)
        if until is None:
            return False
        if now >= until:
            del self._barred[version]
            return False
        return True

    def failed(self, version: UUID, now: datetime) -> None:
        """It failed: the third time within a minute bars it."""
        self._forget(now)
        times = self._failed.setdefault(version, deque(maxlen=FAILURES))
        times.append(now)
        if len(times) == FAILURES and now - times[0] <= WITHIN:
            self._barred[version] = now + PAUSE
            del self._failed[version]

    def _forget(self, now: datetime) -> None:
        """What failed too long ago to matter."""
        for version in [version for version, times in self._failed.items() if now - times[-1] > WITHIN]:
            del self._failed[version]
