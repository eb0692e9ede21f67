"""Spending target: once per share and period, the highest newly reached; a new period starts clean."""

from tests.acceptance.conftest import OpenTimetable


def told(percent: int) -> tuple[str, str]:
    return f"email: Budget at {percent}%", f"inbox: Budget at {percent}%"


async def test_each_share_is_told_once_a_period_and_again_in_the_next(timetable: OpenTimetable) -> None:
    async with timetable("2025-10-30 09:00") as day:
        await day.post(day.budget("100.00"))
        await day.alert(spending_target={"budget_id": "31"}, sms_delivery=True)
        await day.at("09:05", day.budget("199.99"))
        await day.at("09:10", day.budget("330.00"))  # over 50 and 80
        await day.want(*told(80), 'sms: Budget "Groceries" at 80%')
        message = (await day.inbox())[0]["message"]
        assert message == "Your 'Groceries' budget is at 80% ($330.00 of $400.00)"
        await day.at("10:05", day.budget("340.00"))
        await day.at("2025-11-01 00:30", day.budget("0.00"))
        await day.at("2025-11-01 09:00", day.budget("220.00"))
        await day.want(*told(50), 'sms: Budget "Groceries" at 50%')
        await day.at("2025-11-01 12:05")


async def test_a_derived_budget_adds_its_category_and_subtracts_refunds(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.post(day.budget("", category="groceries", spent_source="derived"))
        await day.alert(spending_target={"budget_id": "31", "thresholds": [50, 100]})
        await day.at("09:05", day.purchase("150.00", category="groceries"))
        await day.at("09:10", day.purchase("500.00", category="travel"))
        await day.at("09:15", day.purchase("-20.00", category="groceries"))  # a refund
        await day.at("09:20", day.purchase("70.00", category="groceries"))  # 200.00: exactly half
        await day.want(*told(50))
        assert (await day.inbox())[0]["metadata"]["spending_target"]["spent"] == "200.00"


async def test_a_budget_of_nothing_never_fires(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.post(day.budget("0.00", amount="0.00"))
        await day.alert(spending_target={"budget_id": "31"})
        await day.at("09:05", day.budget("50.00", amount="0.00"))
        await day.at("11:05")
