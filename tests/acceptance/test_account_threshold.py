"""Account threshold: below or above, equality is neither; each cooldown while true, or once per crossing."""

from datetime import UTC

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


async def test_it_stays_quiet_in_another_currency_and_at_a_balance_older_than_what_is_known(
    timetable: OpenTimetable,
) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.alert(account_threshold=BELOW_500)
        await day.at("09:05", day.account("460.00", currency="EUR"))
        await day.at("10:05")
        await day.at("10:10", day.account("2000.00"))
        await day.at("10:15", day.account("400.00", as_of="2025-11-01T20:00:00Z"))
        await day.at("11:05")
        await day.at("11:10", day.account("400.00"))
        await day.want(*LOW)


async def test_a_balance_that_nobody_confirmed_for_48_hours_is_stale_until_it_is_posted_again(
    timetable: OpenTimetable,
) -> None:
    async with timetable("2025-11-03 09:00") as day:
        # two alerts that sleep until the sweeps before and after the balance is 48 h old
        for awake in ("2025-11-05 08:30", "2025-11-05 09:30"):
            snoozed_until = day.instant(awake).astimezone(UTC).isoformat()
            await day.alert(account_threshold=BELOW_500, snoozed_until=snoozed_until)
        await day.at("09:05", day.account("480.00"))
        await day.at("2025-11-05 08:59")
        await day.at("2025-11-05 09:00")
        await day.want(*LOW)
        await day.at("2025-11-05 11:05", day.account("480.00"))  # the sweeps at ten and eleven stayed quiet
        await day.want(*LOW)


async def test_creating_an_alert_that_is_true_already_fires_at_once(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.alert(account_threshold={**BELOW_500, "threshold": "1000.00", "direction": "above"})
        await day.want("email: High balance: Checking", "inbox: High balance: Checking")
