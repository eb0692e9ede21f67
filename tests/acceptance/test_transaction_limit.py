"""Transaction limit: every purchase of at least the limit; critical, so that quiet hours do not hold it."""

from tests.acceptance.conftest import OpenTimetable

LARGE = ("email: Large transaction", "inbox: Large transaction")


async def test_every_large_purchase_is_told_also_at_night(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.must(
            "PATCH", "/api/v2/preferences", {"quiet_hours": {"enabled": True, "start": "22:00", "end": "08:00"}}
        )
        await day.alert(transaction_limit={"amount": "250.00", "currency": "USD"}, sms_delivery=True)
        await day.at("09:05", day.purchase("249.99"))
        await day.at("09:10", day.purchase("250.00", "Bike Shop"))
        sms = "sms: Large transaction: $250.00 (limit: $250.00)"
        await day.want(*LARGE, sms)
        message = (await day.inbox())[0]["message"]
        assert message == "Large transaction detected: Bike Shop for $250.00 exceeds your limit of $250.00"
        await day.at("09:15", day.purchase("250.00", "Bike Shop"))  # a second one like it
        await day.want(*LARGE, sms)
        await day.at("23:30", day.purchase("900.00"))
        await day.want(*LARGE, "sms: Large transaction: $900.00 (limit: $250.00)")
        await day.at("23:35", day.purchase("900.00", currency="EUR"))


async def test_direction_and_account_narrow_it(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        limit = {"amount": "100.00", "currency": "USD", "account_id": "11", "direction": "credit"}
        await day.alert(transaction_limit=limit)
        await day.at("09:05", day.purchase("500.00"))
        await day.at("09:10", day.purchase("-500.00", account_id="12"))
        await day.at("09:15", day.purchase("-500.00", "Salary"))
        await day.want(*LARGE)


async def test_a_purchase_posted_again_after_pending_is_not_told_again(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.alert(transaction_limit={"amount": "100.00", "currency": "USD"})
        await day.at("09:05", day.purchase("300.00", "Hotel", status="pending"))
        await day.want(*LARGE)
        await day.at("2025-11-05 09:00", day.purchase("300.00", "Hotel"))  # the bank gives no link: paired by its look
        await day.at("2025-11-05 12:05")
