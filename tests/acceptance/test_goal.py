"""Goal: once per milestone for the goal's life; a jump tells the highest only."""

from tests.acceptance.conftest import OpenTimetable


async def test_each_milestone_is_told_once_and_a_jump_tells_the_highest(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.post(day.goal("200.00"))
        await day.alert(goal={"goal_id": "21"}, sms_delivery=True)
        await day.at("09:05", day.goal("249.99"))
        await day.at("09:10", day.goal("800.00"))  # over 25, 50 and 75 at once
        await day.want("email: Goal reached: 75%", "inbox: Goal reached: 75%", 'sms: Goal "Holiday" reached 75%!')
        assert (await day.inbox())[0]["message"] == "Your goal 'Holiday' has reached 75% completion!"
        await day.at("09:15", day.goal("100.00"))
        await day.at("09:20", day.goal("800.00"))  # the same milestone again is no news
        await day.at("09:25", day.goal("1000.00"))
        await day.want("email: Goal reached: 100%", "inbox: Goal reached: 100%", 'sms: Goal "Holiday" reached 100%!')
        await day.at("12:05")


async def test_milestones_reached_before_the_alert_are_passed_silently(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.post(day.goal("600.00"))
        await day.alert(goal={"goal_id": "21", "milestones": [50, 60, 90]})
        await day.at("10:05", day.goal("700.00"))
        await day.at("10:10", day.goal("900.00"))
        await day.want("email: Goal reached: 90%", "inbox: Goal reached: 90%")


async def test_a_goal_without_a_target_never_fires(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.post(day.goal("0.00", target="0.00"))
        await day.alert(goal={"goal_id": "21"})
        await day.at("09:05", day.goal("500.00", target="0.00"))
        await day.at("11:05")
