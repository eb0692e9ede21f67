"""People who have had enough: STOP by text, the link of an e-mail, a bounced address, and the bank's own list."""

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from tests.acceptance.conftest import OpenTimetable
from tests.acceptance.timetable import EMAIL, PHONE, Timetable
from tocsin_devstack.faults import CallBehaviour, CallFault, Provider
from tocsin_devstack.wiring import SENDER_NUMBER

START = "2025-11-03 21:00"
LIMIT = {"amount": "100.00", "currency": "USD"}
SUPPRESSIONS = "/api/v2/admin/suppressions"


async def text_by(day: Timetable, words: str, sender: str = PHONE) -> None:
    """The person answers our texts."""
    day.stack.twilio.receive(sender, SENDER_NUMBER, words)
    await day.stack.settle()


async def reasons(day: Timetable, channel: str) -> list[tuple[str, str]]:
    """State and reason of each delivery of a channel, sorted."""
    admin = day.stack.admin_token()
    page = await day.must("GET", f"/api/v2/admin/deliveries?channel={channel}&page_size=200", token=admin)
    return sorted((one["status"], one.get("reason", "")) for one in page["deliveries"])


async def address(day: Timetable, which: str) -> Any:
    """What the person sees of an address in their preferences."""
    return (await day.must("GET", "/api/v2/preferences"))[which]


async def test_stop_while_fifty_texts_wait_lets_none_of_them_leave(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await day.must("PATCH", "/api/v2/partner-settings", {"max_per_hour": 1000, "max_per_day": 1000}, partner(day))
        quiet = {"enabled": True, "start": "22:00", "end": "08:00"}
        await day.must(
            "PATCH", "/api/v2/preferences", {"max_per_hour": 1000, "max_per_day": 1000, "quiet_hours": quiet}
        )
        wish = {"transaction_limit": LIMIT, "critical": False, "email_delivery": False, "sms_delivery": True}
        await day.alert(**wish)
        await day.at("21:30", day.purchase("150.00"))
        await day.want("inbox: Large transaction", "sms: Large transaction: $150.00 (limit: $100.00)")
        await day.at("23:00")
        await day.post(*(day.purchase(f"{200 + number}.00") for number in range(50)))
        await day.want(*["inbox: Large transaction"] * 50)
        assert await reasons(day, "sms") == [("delivered", ""), *[("held", "quiet_hours")] * 50]
        await day.stack.move_to(day.instant("2025-11-04 07:59"))
        await text_by(day, "Stop.")
        phone = await address(day, "phone")
        assert (phone["suppressed"], phone["suppressed_reason"]) == (True, "stopped")
        assert phone["suppressed_since"] == "2025-11-04T13:59:00Z"
        await day.at("08:30")
        await day.want()
        assert await reasons(day, "sms") == [("delivered", ""), *[("suppressed", "suppressed_stopped")] * 50]
        assert day.stack.twilio.account.refused == [], "nor did we leave it to Twilio to refuse them"

        await text_by(day, "start")
        await day.post(day.purchase("160.00"))
        await day.want("inbox: Large transaction", "sms: Large transaction: $160.00 (limit: $100.00)")
        assert (await address(day, "phone"))["suppressed"] is False


@pytest.mark.parametrize("said", ["STOPALL", "unsubscribe", "CANCEL", "End", "QUIT", "stop all"])
async def test_every_word_for_stop_stops_texts_also_critical_ones(timetable: OpenTimetable, said: str) -> None:
    async with timetable(START) as day:
        await day.alert(transaction_limit=LIMIT, email_delivery=False, sms_delivery=True)
        await text_by(day, "what is this?")
        await text_by(day, "INFO")
        await day.post(day.purchase("150.00"))
        await day.want("inbox: Large transaction", "sms: Large transaction: $150.00 (limit: $100.00)")
        await text_by(day, said)
        await day.post(day.purchase("160.00"))
        await day.want("inbox: Large transaction")
        await text_by(day, "UNSTOP" if said == "QUIT" else "yes" if said == "End" else "START")
        await day.post(day.purchase("170.00"))
        await day.want("inbox: Large transaction", "sms: Large transaction: $170.00 (limit: $100.00)")


async def test_a_refusal_for_stop_counts_as_stop(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await day.alert(transaction_limit=LIMIT, email_delivery=False, sms_delivery=True)
        day.stack.faults.order(
            CallFault(Provider.TWILIO, CallBehaviour.STATUS, recipient=PHONE, status=400, code=21610, times=1)
        )
        await day.post(day.purchase("150.00"))
        await day.post(day.purchase("160.00"))
        await day.want(*["inbox: Large transaction"] * 2)
        assert await reasons(day, "sms") == [("failed", ""), ("suppressed", "suppressed_stopped")]


def links(day: Timetable) -> Sequence[str]:
    """The paths of the unsubscribe links of the e-mails that came, oldest first."""
    found = []
    for message in day.stack.sendgrid.account.to(EMAIL):
        headers = {name.lower(): value for name, value in message.headers.items()}
        assert headers["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"
        (url,) = re.findall(r"<(http[^>]+)>", headers["list-unsubscribe"])
        found.append(url.removeprefix(day.stack.base_url))
    return found


async def clicked(day: Timetable, path: str) -> str:
    """One click, as a mail program makes it."""
    form = {"List-Unsubscribe": "One-Click"}
    async with day.stack.http.post(day.stack.base_url + path, data=form, allow_redirects=False) as answer:
        assert answer.status == 200, await answer.text()
        page = await answer.text()
    await day.stack.settle()
    return page


async def test_one_click_stops_its_kind_by_email_and_nothing_else(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await day.alert(transaction_limit=LIMIT, sms_delivery=True)
        await day.alert(goal={"goal_id": "21"})
        await day.post(day.goal("0.00"), day.purchase("150.00"))
        await day.want(
            "inbox: Large transaction",
            "email: Large transaction",
            "sms: Large transaction: $150.00 (limit: $100.00)",
        )
        (link,) = links(day)
        async with day.stack.http.get(day.stack.base_url + link) as looked:
            assert looked.status == 200
        await day.stack.settle()
        await day.post(day.purchase("160.00"))
        await day.want(
            "inbox: Large transaction",
            "email: Large transaction",
            "sms: Large transaction: $160.00 (limit: $100.00)",
        )
        await clicked(day, link)
        await day.post(day.purchase("170.00"), day.goal("250.00"))
        await day.want(
            "inbox: Large transaction",
            "sms: Large transaction: $170.00 (limit: $100.00)",
            "inbox: Goal reached: 25%",
            "email: Goal reached: 25%",
        )
        assert ("suppressed", "preference_off") in await reasons(day, "email")


async def test_the_links_page_stops_every_email_also_of_mandatory_kinds(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await day.must("PATCH", "/api/v2/partner-settings", {"mandatory_kinds": ["transaction_limit"]}, partner(day))
        await day.alert(transaction_limit=LIMIT)
        await day.post(day.purchase("150.00"))
        await day.want("inbox: Large transaction", "email: Large transaction")
        (link,) = links(day)
        async with day.stack.http.get(day.stack.base_url + link) as looked:
            of_all = re.findall(r'action="([^"]+)"', await looked.text())[1]
        await clicked(day, f"/u/{of_all}")
        await day.post(day.purchase("160.00"))
        await day.want("inbox: Large transaction")
        shown = await address(day, "email")
        assert (shown["suppressed"], shown["suppressed_reason"]) == (True, "unsubscribed")
        assert await reasons(day, "email") == [("delivered", ""), ("suppressed", "suppressed_unsubscribed")]


def partner(day: Timetable, partner_id: int = 1) -> str:
    """The token of the bank's staff."""
    return day.stack.partner_token(partner_id)


async def test_the_bank_keeps_its_list_and_sees_no_address_in_it(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await day.alert(transaction_limit=LIMIT)
        body = {"address": EMAIL.upper(), "reason": "complained", "note": "by letter"}
        added = await day.must("POST", SUPPRESSIONS, body, partner(day))
        assert added["source"] == "partner"
        await day.post(day.purchase("150.00"))
        await day.want("inbox: Large transaction")
        listed = await day.must("GET", f"{SUPPRESSIONS}?address={EMAIL}", token=partner(day))
        assert [one["id"] for one in listed["suppressions"]] == [added["id"]]
        assert EMAIL.partition("@")[0] not in str(listed).lower()
        assert (await day.must("GET", f"{SUPPRESSIONS}?address=al@example.com", token=partner(day))) == {
            "suppressions": [],
            "next_page_token": "",
        }
        assert (await day.must("GET", SUPPRESSIONS, token=partner(day, 2)))["suppressions"] == []
        gone = f"{SUPPRESSIONS}/{added['id']}"
        assert (await day.ask("DELETE", gone, token=partner(day, 2))).status == 404
        await day.stack.move_to(day.now + timedelta(minutes=1))
        await day.must("DELETE", gone, token=partner(day))
        await day.post(day.purchase("160.00"))
        await day.want("inbox: Large transaction", "email: Large transaction")
        assert (await day.must("GET", SUPPRESSIONS, token=partner(day)))["suppressions"] == []
        whole = await day.must("GET", f"{SUPPRESSIONS}?with_lifted=true&partner_id=1", token=day.stack.admin_token())
        assert [one["lifted_by"] for one in whole["suppressions"]] == ["partner-1"]
        log = await day.databases.of["dispatcher"].fetch("SELECT subject, action FROM audit_log ORDER BY at, id")
        assert [tuple(row) for row in log] == [("partner-1", "add_suppression"), ("partner-1", "remove_suppression")]


async def test_operators_name_the_bank_and_others_must_not(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        admin = day.stack.admin_token()
        body = {"address": PHONE, "reason": "stopped"}
        assert (await day.ask("POST", SUPPRESSIONS, body, admin)).body["reason"] == "invalid_field"
        assert (await day.ask("POST", SUPPRESSIONS, {**body, "partner_id": "1"}, partner(day))).status == 400
        assert (await day.ask("GET", f"{SUPPRESSIONS}?address={EMAIL}", token=admin)).status == 400
        assert (await day.ask("POST", SUPPRESSIONS, {**body, "partner_id": "1"})).status == 403, "a user"
        added = await day.must("POST", SUPPRESSIONS, {**body, "partner_id": "1"}, admin)
        assert (added["source"], added["channel"]) == ("operator", "sms")
        await day.must("DELETE", f"{SUPPRESSIONS}/{added['id']}?partner_id=1", token=admin)
