"""Account threshold: below or above, equality is neither; each cooldown while true, or once per crossing."""

from tests.acceptance.conftest import OpenTimetable

LOW = ("email: Low balance: Checking", "inbox: Low balance: Checking")
BELOW_500 = {"account_id": "11", "threshold": "500.00", "currency": "USD", "direction": "below"}


async def test_it_fires_when_below_again_each_cooldown_and_never_at_equality(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.alert(account_threshold=BELOW_500, sms_delivery=True)
        await day.at("09:05", day.account("500.00"))  # equal is not below
        await day.at("09:10", day.account("499.99"))
        await day.want(*LOW, "sms: Checking: $499.99 (below $500.00)")
        (told,) = await day.inbox()
        assert told["message"] == "Your Checking balance is below $500.00. Current balance: $499.99"
        assert told["metadata"]["account_threshold"]["balance"] == "499.99"
        await day.at("12:00", day.account("450.00"))  # still below, still cooling down
        await day.at("15:09")
        await day.at("16:01")  # the sweep after the six hours: still below
        await day.want(*LOW, "sms: Checking: $450.00 (below $500.00)")
        await day.at("16:05", day.account("900.00"))
        await day.at("23:30")


async def test_a_crossing_fires_once_and_again_after_it_came_back(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.alert(account_threshold={**BELOW_500, "repeat": "on_crossing"})
        await day.at("09:10", day.account("480.00"))
        await day.want(*LOW)
        await day.at("18:00", day.account("470.00"))
        await day.at("18:05", day.account("510.00"))
        await day.at("18:10", day.account("490.00"))
        await day.want(*LOW)


async def test_it_stays_quiet_when_inactive_snoozed_deleted_stale_or_in_another_currency(
    timetable: OpenTimetable,
) -> None:
    async with timetable("2025-11-03 09:00") as day:
        alert = await day.alert(account_threshold=BELOW_500, active=False)
        await day.at("09:05", day.account("480.00"))
        await day.must("PATCH", f"/api/v2/alerts/{alert}", {"active": True, "snoozed_until": "2025-11-03T18:00:00Z"})
        await day.at("10:00", day.account("470.00"))
        await day.at("12:05")  # the sweep after the snooze
        await day.want(*LOW)
        await day.at("12:10", day.account("460.00", currency="EUR"))
        await day.at("19:05")
        await day.at("19:10", day.account("2000.00"))
        await day.at("19:15", day.account("400.00", as_of="2025-11-01T20:00:00Z"))  # older than what is known
        await day.must("DELETE", f"/api/v2/alerts/{alert}")
        await day.at("19:20", day.account("400.00"))
        await day.at("20:05")


async def test_creating_an_alert_that_is_true_already_fires_at_once(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.alert(account_threshold={**BELOW_500, "threshold": "1000.00", "direction": "above"})
        await day.want("email: High balance: Checking", "inbox: High balance: Checking")


async def test_a_text_in_quiet_hours_comes_when_they_end_and_not_when_it_no_longer_holds(
    timetable: OpenTimetable,
) -> None:
    async with timetable("2025-11-03 20:00") as day:
        await day.must(
            "PATCH", "/api/v2/preferences", {"quiet_hours": {"enabled": True, "start": "22:00", "end": "08:00"}}
        )
        await day.alert(account_threshold=BELOW_500, cooldown="86400s")
        await day.at("22:30", day.account("480.00"))
        await day.want("inbox: Low balance: Checking")
        await day.at("2025-11-04 07:59")
        await day.at("2025-11-04 08:00")
        await day.want("email: Low balance: Checking")
        await day.at("2025-11-04 22:45", day.account("2000.00"))
        await day.at("2025-11-04 22:50", day.account("300.00"))
        await day.want("inbox: Low balance: Checking")
        await day.at("2025-11-05 07:00", day.account("2500.00"))  # the salary came before anybody was told
        await day.at("2025-11-05 09:00")
