"""Upcoming bill: once per due date, from 06:00 of the user's own day, also when daylight saving ends that night."""

from tests.acceptance.conftest import OpenTimetable


def told(when: str) -> tuple[str, str]:
    return f"email: Bill due {when}", f"inbox: Bill due {when}"


async def test_it_fires_at_six_local_over_the_end_of_daylight_saving(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-01 20:00") as day:  # clocks go back at 02:00 on the 2nd
        await day.alert(upcoming_bill={"bill_id": "41", "days_before": 3}, sms_delivery=True)
        await day.post(day.bill("2025-11-05", recurrence="weekly"))
        await day.at("2025-11-02 05:59")
        await day.at("2025-11-02 06:00")
        await day.want(*told("in 3 days"), 'sms: Bill "Rent" ($1,494.00) due in 3 days')
        assert (await day.inbox())[0]["message"] == "Bill 'Rent' for $1,494.00 is due in 3 days"
        await day.at("2025-11-03 07:00")  # the same due date is told once
        await day.at("2025-11-05 09:00", day.bill("2025-11-05", recurrence="weekly", paid_through="2025-11-05"))
        await day.at("2025-11-09 05:59")
        await day.at("2025-11-09 06:00")
        await day.want(*told("in 3 days"), 'sms: Bill "Rent" ($1,494.00) due in 3 days')


async def test_a_paid_bill_and_one_too_far_off_stay_quiet(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.post(day.bill("2025-11-04", paid_through="2025-11-04"))
        await day.alert(upcoming_bill={"bill_id": "41", "days_before": 1})
        await day.post(day.bill("2025-11-20", id="42"))
        await day.alert(upcoming_bill={"bill_id": "42"})
        await day.at("2025-11-05 09:00")


async def test_creating_the_alert_tells_a_bill_that_is_due_already(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 03:00") as day:
        await day.post(day.bill("2025-11-04"))
        await day.alert(
            upcoming_bill={"bill_id": "41", "days_before": 1}
        )  # a person asked: six o'clock does not matter
        await day.want(*told("tomorrow"))
