"""Merchant name: each purchase, the first of a local day, or all together once a day. Runs in Asia/Kathmandu."""

from tests.acceptance.conftest import OpenTimetable

COFFEE = {"merchant_pattern": " blue   BOTTLE ", "match_type": "contains"}


async def test_each_purchase_is_told_once_however_often_it_is_posted(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00", "Asia/Kathmandu") as day:
        await day.alert(merchant_name=COFFEE, sms_delivery=True)
        await day.at("09:05", day.purchase("4.50", "BLUE BOTTLE COFFEE #12", id="500", status="pending"))
        told = ("email: BLUE BOTTLE COFFEE #12", "inbox: BLUE BOTTLE COFFEE #12")
        await day.want(*told, "sms: BLUE BOTTLE COFFEE #12: $4.50")
        message = (await day.inbox())[0]["message"]
        assert message == "Transaction detected: BLUE BOTTLE COFFEE #12 for $4.50"
        posted = day.purchase("4.50", "BLUE BOTTLE COFFEE #12", id="501", pending_transaction_id="500")
        await day.at("09:30", posted)
        await day.at("09:31", posted)
        await day.at("09:40", day.purchase("4.50", "Red Bottle"))
        await day.at("09:45", day.purchase("3.00", "Blue Bottle", status="reversed"))
        await day.at("10:00", day.purchase("4.50", "BLUE BOTTLE COFFEE #12"))  # a second, equal purchase
        await day.want(*told, "sms: BLUE BOTTLE COFFEE #12: $4.50")


async def test_the_first_of_a_day_is_by_the_user_s_own_midnight(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 23:00", "Asia/Kathmandu") as day:  # midnight there is 18:15 UTC
        await day.alert(merchant_name={**COFFEE, "frequency": "first_of_day"})
        await day.at("23:30", day.purchase("4.50", "Blue Bottle"))
        await day.want("email: Blue Bottle", "inbox: Blue Bottle")
        await day.at("23:59", day.purchase("4.60", "Blue Bottle"))
        await day.at("2025-11-04 00:01", day.purchase("4.70", "Blue Bottle"))
        await day.want("email: Blue Bottle", "inbox: Blue Bottle")


async def test_a_daily_digest_waits_for_the_digest_hour(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00", "Asia/Kathmandu") as day:
        await day.alert(merchant_name={**COFFEE, "frequency": "daily_digest"})
        await day.at("09:05", day.purchase("4.50", "Blue Bottle"))
        await day.want("inbox: Blue Bottle")
        await day.at("17:59")
        await day.at("18:00")
        await day.want("email: 1 alert")


async def test_history_is_not_news(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-20 09:00", "Asia/Kathmandu") as day:
        await day.alert(merchant_name=COFFEE)
        await day.at("09:05", day.purchase("4.50", "Blue Bottle", backfill=True))
        await day.at("09:10", day.purchase("4.50", "Blue Bottle", posted_on="2025-11-01"))
        await day.at("11:05")
