"""Token buckets: how often a caller may call."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta

from tocsin_kit.rpc.errors import rate_limited

_CALLERS = 100_000


class TokenBuckets:
    """A bucket per caller, filled by `per_second` up to `at_once`.

    `seconds` is a real, monotonic clock: it is the machine that is protected, not a schedule. The least recently seen
    callers are forgotten beyond 100,000; a forgotten one starts with a full bucket.
    """

    def __init__(self, per_second: float, at_once: int, seconds: Callable[[], float]) -> None:
        self._per_second, self._at_once, self._seconds = per_second, float(at_once), seconds
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> None:
        """Take one token of the caller's. Raises rate_limited, saying when there will be one."""
        now = self._seconds()
        level, since = self._buckets.pop(caller, (self._at_once, now))
        level = min(self._at_once, level + (now - since) * self._per_second)
        self._buckets[caller] = (level - 1 if level >= 1 else level, now)
        if len(self._buckets) > _CALLERS:
            self._buckets.popitem(last=False)
        if level < 1:
            raise rate_limited("too many requests", timedelta(seconds=(1 - level) / self._per_second))
