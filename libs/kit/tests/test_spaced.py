"""What is done again and again, at least so far apart."""

from datetime import UTC, datetime, timedelta

from tocsin_kit.clock import SteppedClock, SystemClock, Wake
from tocsin_kit.loops import Spaced

NOON = datetime(2025, 11, 3, 12, tzinfo=UTC)
APART = timedelta(milliseconds=50)


class Watched(SystemClock):
    """Stands where it is put, and keeps until when somebody slept."""

    def __init__(self) -> None:
        self.instant, self.slept_until = NOON, list[datetime | None]()

    def now(self) -> datetime:
        return self.instant

    async def sleep_until(self, instant: datetime | None, *, or_woken_by: Wake | None = None) -> None:
        self.slept_until.append(instant)
        self.instant = instant or self.instant


async def test_the_first_begins_at_once_and_the_next_when_it_is_time() -> None:
    clock = Watched()
    spaced = Spaced(clock, APART)
    await spaced.wait()
    assert clock.slept_until == []
    clock.instant += timedelta(milliseconds=20)
    await spaced.wait()
    assert clock.slept_until == [NOON + APART]
    await spaced.wait()
    assert clock.slept_until == [NOON + APART, NOON + 2 * APART]


async def test_what_is_seldom_waits_for_nothing() -> None:
    clock = Watched()
    spaced = Spaced(clock, APART)
    for _ in range(3):
        await spaced.wait()
        clock.instant += APART
    assert clock.slept_until == []


async def test_on_a_stepped_clock_nothing_waits() -> None:
    spaced = Spaced(SteppedClock(NOON), APART)
    for _ in range(3):
        await spaced.wait()
