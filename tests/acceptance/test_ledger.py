"""What an operator reads in the books when notifications are lost: which, by id, and that they came back."""

from datetime import timedelta
from typing import Any

from tests.acceptance.conftest import OpenTimetable
from tests.acceptance.timetable import PARTNER, Timetable

LIMIT = {"amount": "100.00", "currency": "USD"}
EMAIL = "email: Large transaction"
LOSE = "DELETE FROM notifications WHERE id = ANY($1::uuid[])"


async def ledger(day: Timetable, partner_id: int = 0) -> Any:
    """The last hour's, as an operator reads it over REST."""
    path = f"/api/v2/admin/ledger?partner_id={partner_id}"
    return await day.must("GET", path, token=day.stack.admin_token())


async def test_lost_notifications_are_named_before_any_audit_and_an_audit_brings_them_back(
    timetable: OpenTimetable,
) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.alert(transaction_limit=LIMIT)
        for when in ("09:05", "09:05:20", "09:05:50", "09:30"):
            await day.at(when, day.purchase("250.00"))
            await day.want("inbox: Large transaction", EMAIL)
        told = [notification["id"] for notification in reversed(await day.inbox())]
        await day.at("09:35")
        assert (await ledger(day))["gap"] == "0"

        lost = [told[0], told[2]]
        await day.databases.of["dispatcher"].execute(LOSE, lost)
        for partner_id in (0, PARTNER):
            books = await ledger(day, partner_id)
            assert (books["gap"], books["missing_firing_ids"]) == ("2", lost)
            differing = [(one["firings"], one["notifications"]) for one in books["minutes"] if not one["balanced"]]
            assert differing == [("3", "1")], "of the four, three fired in one minute"
        assert (await ledger(day, PARTNER + 1))["gap"] == "0"

        await day.must("POST", "/api/v2/admin/schedules/dispatch-audit:run", {}, day.stack.admin_token())
        await day.stack.move_to(day.stack.clock.now() + timedelta(seconds=5))
        await day.want(EMAIL, EMAIL)
        assert {notification["id"] for notification in await day.inbox()} == set(told)
        assert (await ledger(day))["gap"] == "0"
