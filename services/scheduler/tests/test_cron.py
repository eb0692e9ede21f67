"""When a cron comes true, daylight saving included."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin_scheduler.cron import CronRefused, check_cron, check_zone, latest_between, next_after, times_after

#: Any second of three years, both daylight-saving changes in each.
INSTANTS = st.integers(0, 3 * 365 * 86400).map(lambda n: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=n))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        # every five minutes, on the minute and just after it
        ("*/5 * * * *", "UTC", "2025-11-03 12:00:00", ["2025-11-03 12:05", "2025-11-03 12:10"]),
        ("*/5 * * * *", "UTC", "2025-11-03 12:04:59", ["2025-11-03 12:05", "2025-11-03 12:10"]),
        # 06:00 on ordinary days
        ("0 6 * * *", "America/Chicago", "2025-11-03 12:00", ["2025-11-04 12:00", "2025-11-05 12:00"]),
        # Chicago skips 02:00 to 03:00 on 2026-03-08: 02:30 happens at 03:00 CDT
        ("30 2 * * *", "America/Chicago", "2026-03-08 06:00", ["2026-03-08 08:00", "2026-03-09 07:30"]),
        # a star in the minutes names local times too: what the gap swallows happens once, at its end
        ("*/30 2 * * *", "America/Chicago", "2026-03-08 06:00", ["2026-03-08 08:00", "2026-03-09 07:00"]),
        # Chicago repeats 01:00 to 02:00 on 2025-11-02: 01:30 happens the first time only
        ("30 1 * * *", "America/Chicago", "2025-11-02 05:00", ["2025-11-02 06:30", "2025-11-03 07:30"]),
        ("*/30 1 * * *", "America/Chicago", "2025-11-02 05:00", ["2025-11-02 06:00", "2025-11-02 06:30"]),
        # started in the second pass of the repeated hour, 01:15 CST: today's 01:30 is over
        ("30 1 * * *", "America/Chicago", "2025-11-02 07:15", ["2025-11-03 07:30", "2025-11-04 07:30"]),
        # an hour with a step names local hours: 02:00 in Berlin is repeated on 2025-10-26 and happens once
        ("0 */2 * * *", "Europe/Berlin", "2025-10-25 23:00", ["2025-10-26 00:00", "2025-10-26 03:00"]),
        # every hour goes by elapsed time: the repeated hour has its own
        ("0 * * * *", "America/Chicago", "2025-11-02 05:30", ["2025-11-02 06:00", "2025-11-02 07:00"]),
        # a zone off by three quarters of an hour
        ("0 6 * * *", "Asia/Kathmandu", "2025-11-03 00:00", ["2025-11-03 00:15", "2025-11-04 00:15"]),
        # daylight saving of half an hour: Lord Howe skips 02:00 to 02:30 on 2025-10-05
        ("15 2 * * *", "Australia/Lord_Howe", "2025-10-04 12:00", ["2025-10-04 15:30", "2025-10-05 15:15"]),
    ],
)
def test_times_are_those_of_the_table(cron: str, zone: str, after: str, expected: list[str]) -> None:
    found = list(islice(times_after(cron, zone, utc(after)), len(expected)))
    assert found == [utc(text) for text in expected]


@settings(deadline=None)
@given(
    zone=st.sampled_from(["America/Chicago", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
    start=INSTANTS,
)
def test_a_local_time_happens_once_on_every_local_day(zone: str, hour: int, minute: int, start: datetime) -> None:
    times = list(islice(times_after(f"{minute} {hour} * * *", zone, start), 40))
    days = [time.astimezone(ZoneInfo(zone)).date() for time in times]
    assert all(later - earlier == timedelta(days=1) for earlier, later in pairwise(days))


@settings(deadline=None, max_examples=40)
@given(
    cron=st.sampled_from(["*/5 * * * *", "30 1 * * *", "0 */2 * * *", "0 3 1 * *", "0 6 * * 1"]),
    start=INSTANTS,
    outage=st.timedeltas(timedelta(0), timedelta(days=40)),
)
def test_the_latest_missed_time_is_the_last_one_a_walk_would_find(
    cron: str, start: datetime, outage: timedelta
) -> None:
    zone = "America/Chicago"
    first = next_after(cron, zone, start)
    now = first + outage
    walked = first
    for time in times_after(cron, zone, first):
        if time > now:
            break
        walked = time
    assert latest_between(cron, zone, first, now) == walked


@pytest.mark.parametrize("cron", ["", "* * * *", "* * * * * *", "61 * * * *", "a b c d e", "0 0 30 2 *", "*/0 * * * *"])
def test_a_cron_that_cannot_be_read_or_never_comes_true_is_refused(cron: str) -> None:
    with pytest.raises(CronRefused):
        check_cron(cron)


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../etc/passwd", "America"])
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(CronRefused):
        check_zone(zone)


def test_what_can_be_read_is_not_refused() -> None:
    check_cron("0 6 * * MON-FRI")
    check_zone("Asia/Kathmandu")
