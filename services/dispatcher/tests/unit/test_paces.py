"""How fast a provider is called."""

from datetime import UTC, datetime, timedelta
from math import ceil
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin_dispatcher.paces import LONGEST_PAUSE, LONGEST_SPREAD, Pace, Pause

NOON = datetime(2025, 11, 5, 18, 0, tzinfo=UTC)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def calls(pace: Pace, now: datetime, at_most: int = 10_000) -> tuple[int, Pace]:
    """How many calls may leave at an instant."""
    count = 0
    while pace.admits(now) and count < at_most:
        count, pace = count + 1, pace.taken(now)
    return count, pace


def refused(pace: Pace, now: datetime = NOON, until: datetime | None = None) -> Pace:
    return pace.refused(now, now, until, Random(1))


def after_calls(count: int, now: datetime = NOON, configured: int | None = None) -> Pace:
    pace = Pace(configured)
    for _ in range(count):
        pace = pace.taken(now)
    return pace


def test_without_a_pace_calls_are_not_held_back() -> None:
    assert calls(Pace(), NOON, 1000)[0] == 1000


@pytest.mark.parametrize(("configured", "together"), [(30, 1), (60, 1), (600, 10), (6000, 100)])
def test_a_pace_lets_no_more_leave_together_than_are_due_in_a_second(configured: int, together: int) -> None:
    assert calls(Pace(configured), NOON)[0] == together


@pytest.mark.parametrize("configured", [7, 60, 100, 6000])
def test_a_pace_that_is_set_is_kept_over_minutes(configured: int) -> None:
    pace, total, tenths = Pace(configured), 0, 3 * 600
    for tenth in range(tenths):
        count, pace = calls(pace, NOON + seconds(tenth / 10))
        total += count
    assert 3 * configured <= total <= 3 * configured + ceil(configured / 60)


def test_after_a_refusal_none_leaves_before_the_reset() -> None:
    paused = refused(after_calls(500), until=NOON + seconds(40))
    assert not paused.admits(NOON + seconds(39.999))
    assert paused.admits(NOON + seconds(40))
    assert paused.next_call(NOON) == NOON + seconds(40)


def test_after_the_reset_half_as_many_leave_a_minute() -> None:
    paused = refused(after_calls(500), until=NOON + seconds(40))
    assert paused.per_minute(NOON + seconds(40)) == 250
    assert calls(paused, NOON + seconds(40))[0] == 5, "the calls of about a second"


@pytest.mark.parametrize(("made", "configured", "left"), [(20, None, 60), (500, 30, 30), (500, 400, 250)])
def test_at_least_sixty_a_minute_are_left_or_what_is_set(made: int, configured: int | None, left: int) -> None:
    pace = refused(after_calls(made, configured=configured), until=NOON + seconds(1))
    assert pace.per_minute(NOON + seconds(1)) == left


def test_the_calls_of_the_minute_before_count_as_far_as_they_lie_in_the_last_one() -> None:
    pace = after_calls(600)
    for _ in range(100):
        pace = pace.taken(NOON + seconds(75))
    paused = refused(pace, NOON + seconds(90))
    assert paused.pause is not None
    assert paused.pause.calls_a_minute == (100 + 450) // 2
    long_ago = refused(after_calls(600), NOON + seconds(200))
    assert long_ago.pause is not None
    assert long_ago.pause.calls_a_minute == 60


def test_the_pace_recovers_by_a_quarter_a_minute_until_twice_the_old_one() -> None:
    ended = NOON + seconds(40)
    paused = refused(after_calls(1000), until=ended)
    grown = [paused.per_minute(ended + timedelta(minutes=minute)) for minute in range(8)]
    assert grown == [500, 625, 781, 976, 1220, 1525, 1907, None]
    assert paused.per_minute(ended + timedelta(days=900)) is None


def test_the_pace_recovers_to_what_is_set() -> None:
    paused = refused(after_calls(400, configured=400), until=NOON)
    ended = paused.next_call(NOON)
    grown = [paused.per_minute(ended + timedelta(minutes=minute)) for minute in range(5)]
    assert grown == [200, 250, 312, 390, 400]


def test_the_calls_under_way_when_the_pause_began_are_of_the_same_refusal() -> None:
    first = refused(after_calls(1000), until=NOON + seconds(10))
    same = first.refused(NOON - seconds(1), NOON + seconds(12), NOON + seconds(10), Random(1))
    assert same is first
    longer = first.refused(NOON - seconds(1), NOON + seconds(2), NOON + seconds(30), Random(1))
    assert longer.pause == Pause(NOON + seconds(30), 500)
    again = first.refused(NOON + seconds(11), NOON + seconds(12), NOON + seconds(50), Random(1))
    assert again.pause is not None
    assert again.pause.until == NOON + seconds(50)
    assert again.refusals == 2


def test_refusals_without_a_reset_pause_longer_each_time_up_to_a_minute() -> None:
    pace, now, pauses = Pace(), NOON, []
    for _ in range(8):
        pace = refused(pace, now)
        pauses.append((pace.next_call(now) - now).total_seconds())
        now = pace.next_call(now) + seconds(1)
    for pause, about in zip(pauses, [1, 2, 4, 8, 16, 32, 60, 60], strict=True):
        assert 0.75 * about <= pause <= 1.25 * about
    taken = pace.accepted(now - timedelta(hours=1))
    assert taken.refusals == 8, "a call from before the refusal says nothing"
    assert pace.accepted(now).refusals == 0


@pytest.mark.parametrize("until", [NOON, NOON - timedelta(days=1)])
def test_a_reset_that_has_passed_is_none(until: datetime) -> None:
    assert seconds(0.75) <= refused(Pace(), until=until).next_call(NOON) - NOON <= seconds(1.25)


def test_a_reset_in_a_far_year_stops_nobody_for_good() -> None:
    assert refused(Pace(), until=NOON.replace(year=9999)).next_call(NOON) == NOON + LONGEST_PAUSE


def test_what_is_put_off_comes_back_one_after_the_other_at_the_pace() -> None:
    pace, back = refused(Pace(), until=NOON + seconds(40)), []
    for _ in range(4):
        at, pace = pace.put_off(NOON, critical=False)
        back.append((at - NOON).total_seconds())
    assert back == [40, 41, 42, 43]


def test_critical_ones_are_put_off_to_the_next_call_whoever_waits() -> None:
    pace = refused(Pace(), until=NOON + seconds(40))
    for _ in range(10):
        _, pace = pace.put_off(NOON, critical=False)
    at, _ = pace.put_off(NOON, critical=True)
    assert at == NOON + seconds(40)


def test_critical_ones_wait_for_the_pause_and_for_no_other_call() -> None:
    paused = refused(Pace(), until=NOON + seconds(40))
    assert not paused.admits(NOON + seconds(39), critical=True)
    _, busy = calls(paused, NOON + seconds(40))
    assert not busy.admits(NOON + seconds(40))
    assert busy.admits(NOON + seconds(40), critical=True)
    for _ in range(9):
        busy = busy.taken(NOON + seconds(40))
    assert not busy.admits(NOON + seconds(40), critical=True), "not even of them more than the pace of ten seconds"
    assert busy.next_call(NOON + seconds(40)) == NOON + seconds(50), "the others wait for what they took"


def test_what_is_put_off_comes_back_in_minutes_however_many_wait() -> None:
    """So that a pace that has recovered finds them."""
    pace, back = refused(Pace(), until=NOON + seconds(40)), []
    for _ in range(1000):
        at, pace = pace.put_off(NOON, critical=False)
        back.append(at)
    assert max(back) < NOON + seconds(40) + LONGEST_SPREAD
    assert back.count(NOON + seconds(40)) == 4


def test_a_call_that_was_not_made_gives_its_place_back() -> None:
    pace = Pace(60).taken(NOON)
    assert not pace.admits(NOON)
    assert pace.returned(NOON).admits(NOON)
    assert pace.returned(NOON).calls == 0


def test_a_replica_follows_the_pause_that_ends_later() -> None:
    one = refused(after_calls(1000), until=NOON + seconds(40))
    assert one.pause is not None
    other = after_calls(30).following(one.pause, NOON + seconds(1))
    assert not other.admits(NOON + seconds(39))
    assert other.per_minute(NOON + seconds(40)) == 500
    assert other.following(Pause(NOON + seconds(20), 60), NOON) is other
    own = other.refused(NOON, NOON + seconds(2), None, Random(1))
    assert own is other, "its own calls that were under way are of the same refusal"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["call", "refused", "accepted", "put off"]), st.integers(0, 90), st.integers(-5, 100)
        ),
        max_size=60,
    ),
    st.sampled_from([None, 30, 600]),
)
def test_whatever_happens_the_next_call_is_not_far_and_leaves_when_it_is_due(
    steps: list[tuple[str, int, int]], configured: int | None
) -> None:
    pace, now = Pace(configured), NOON
    for step, passed, reset in steps:
        now += seconds(passed)
        if step == "call" and pace.admits(now):
            pace = pace.taken(now)
        if step == "refused":
            pace = pace.refused(now, now, now + seconds(reset), Random(1))
        if step == "accepted":
            pace = pace.accepted(now)
        if step == "put off":
            _, pace = pace.put_off(now, critical=False)
    assert pace.next_call(now) <= now + seconds(102)
    assert pace.admits(pace.next_call(now))
