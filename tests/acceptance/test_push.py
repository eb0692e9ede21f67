"""Web push, from a browser that subscribes to a message that it alone can read."""

import json
from datetime import timedelta
from typing import Any

from tests.acceptance.conftest import OpenTimetable
from tests.acceptance.timetable import PARTNER, Timetable
from tocsin_devstack.faults import CallBehaviour, CallFault, Receiver

START = "2025-11-03 09:00"
LARGE = {"amount": "100.00", "currency": "USD"}
BELOW = {"account_id": "11", "threshold": "500.00", "currency": "USD", "direction": "below"}
MAIL, INBOX = "email: Large transaction", "inbox: Large transaction"
PATH = "/api/v2/push-subscriptions"


async def subscribe(day: Timetable, browser: str, token: str | None = None) -> str:
    """Register a browser; its id."""
    told = day.stack.push.browser(browser)
    made = await day.must("POST", PATH, {**told, "name": browser.title()}, token)
    assert made["endpoint"] == told["endpoint"]
    assert "keys" not in made
    return str(made["id"])


async def deliveries(day: Timetable) -> list[dict[str, Any]]:
    """The push deliveries of the newest notification, as its user sees them."""
    newest = (await day.inbox())[0]
    return [one for one in newest["deliveries"] if one["channel"] == "push"]


async def test_each_browser_gets_the_message_and_no_other_one(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await subscribe(day, "laptop")
        await day.at("09:01")
        await subscribe(day, "phone")
        listed = await day.must("GET", PATH)
        assert listed["push_subscriptions"][1]["endpoint"] == day.stack.push.browser("laptop")["endpoint"]
        assert [(one["name"], one["service"]) for one in listed["push_subscriptions"]] == [
            ("Phone", day.stack.push.base_url.removeprefix("http://").replace(":", "_")),
            ("Laptop", day.stack.push.base_url.removeprefix("http://").replace(":", "_")),
        ]
        await subscribe(day, "stranger's", day.stack.user_token(2))
        await day.alert(transaction_limit=LARGE, push_delivery=True, email_delivery=False)
        await day.at("09:05", day.purchase("250.00", description="Wheel of cheese"))
        await day.want(INBOX, "push to laptop: Large transaction", "push to phone: Large transaction")

        [newest] = await day.inbox()
        pushed = day.stack.push.pushed[0]
        assert pushed.told == {
            "id": newest["id"],
            "title": "Large transaction",
            "message": newest["message"],
            "action_url": newest["action_url"],
        }
        assert pushed.headers["urgency"] == "high", "it is critical"
        assert int(pushed.headers["ttl"]) == timedelta(hours=24).total_seconds()
        assert b"Wheel of cheese" not in pushed.body
        assert day.stack.push.account.refused == []
        assert listed["application_server_key"] in pushed.headers["authorization"]
        assert {one["status"] for one in await deliveries(day)} == {"sent"}


async def test_without_a_browser_push_ends_suppressed_and_says_why(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await day.alert(transaction_limit=LARGE, push_delivery=True, email_delivery=False)
        await day.at("09:05", day.purchase("250.00"))
        await day.want(INBOX)
        assert [(one["status"], one["reason"]) for one in await deliveries(day)] == [("suppressed", "no_address")]


async def test_a_browser_that_has_gone_is_removed_and_the_others_stay(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await subscribe(day, "laptop")
        kept = await subscribe(day, "phone")
        await day.alert(transaction_limit=LARGE, push_delivery=True, email_delivery=False)
        day.stack.push.unsubscribe("laptop")
        await day.at("09:05", day.purchase("250.00"))
        await day.want(INBOX, "push to phone: Large transaction")
        assert sorted(one["status"] for one in await deliveries(day)) == ["failed", "sent"]
        listed = await day.must("GET", PATH)
        assert [one["id"] for one in listed["push_subscriptions"]] == [kept]
        await day.at("09:10", day.purchase("260.00"))
        await day.want(INBOX, "push to phone: Large transaction")


async def test_the_night_holds_a_push_message_and_a_browser_removed_meanwhile_gets_none(
    timetable: OpenTimetable,
) -> None:
    async with timetable("2025-11-03 20:00") as day:
        night = {"enabled": True, "start": "22:00", "end": "08:00"}
        await day.must("PATCH", "/api/v2/preferences", {"quiet_hours": night})
        await subscribe(day, "laptop")
        phone = await subscribe(day, "phone")
        await day.alert(transaction_limit=LARGE, push_delivery=True, email_delivery=False, critical=False)
        await day.at("22:30", day.purchase("250.00"))
        await day.want(INBOX)
        await day.must("DELETE", f"{PATH}/{phone}")
        await day.at("2025-11-04 07:59")
        await day.at("2025-11-04 08:00")
        await day.want("push to laptop: Large transaction")
        assert int(day.stack.push.pushed[0].headers["ttl"]) > timedelta(hours=23).total_seconds(), "held time is no use"
        fates = {(one["status"], one.get("reason")) for one in await deliveries(day)}
        assert fates == {("sent", None), ("suppressed", "no_address")}


async def test_who_signs_in_on_a_browser_takes_it_from_whoever_was_signed_in_before(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        first = await subscribe(day, "shared")
        assert await subscribe(day, "shared") == first, "the same user's is renewed"
        second = await subscribe(day, "shared", day.stack.user_token(2))
        assert second != first
        assert (await day.must("GET", PATH))["push_subscriptions"] == []
        await day.alert(transaction_limit=LARGE, push_delivery=True, email_delivery=False)
        await day.at("09:05", day.purchase("250.00"))
        await day.want(INBOX)


async def test_figures_are_left_out_where_the_user_hides_them(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await day.must("PATCH", "/api/v2/preferences", {"hide_amounts": True})
        await subscribe(day, "laptop")
        await day.alert(account_threshold=BELOW, push_delivery=True, email_delivery=False)
        await day.at("09:05", day.account("480.00"))
        await day.want("inbox: Low balance: Checking", "push to laptop: Low balance: Checking")
        assert day.stack.push.pushed[0].told["message"] == "Your Checking balance is below your threshold."


async def test_one_purchase_that_two_alerts_name_is_told_once_in_each_browser(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        for browser in ("laptop", "phone"):
            await subscribe(day, browser)
        merchant = {"merchant_pattern": "Corner Market", "match_type": "exact"}
        await day.alert(transaction_limit=LARGE, push_delivery=True, email_delivery=False)
        await day.alert(merchant_name=merchant, push_delivery=True, email_delivery=False)
        await day.at("09:05", day.purchase("250.00"))
        await day.want(
            INBOX, "inbox: Corner Market", "push to laptop: Large transaction", "push to phone: Large transaction"
        )


async def test_a_push_service_that_is_busy_or_broken_is_tried_again(timetable: OpenTimetable) -> None:
    async with timetable(START, settings={"dispatcher": {"TOCSIN_PROVIDER_SECONDS": "1"}}) as day:
        await subscribe(day, "laptop")
        await day.alert(transaction_limit=LARGE, push_delivery=True, email_delivery=False)
        busy = CallFault(Receiver.WEBPUSH, CallBehaviour.STATUS, status=429, headers={"Retry-After": "90"}, times=1)
        day.stack.faults.order(busy)
        await day.at("09:05", day.purchase("250.00"))
        await day.want(INBOX)
        await day.at("09:06")
        await day.stack.move_to(day.instant("09:07"))
        await day.want("push to laptop: Large transaction")

        for minute, behaviour in enumerate((CallBehaviour.HANG_BEFORE, CallBehaviour.RESET_BEFORE), 10):
            day.stack.faults.order(CallFault(Receiver.WEBPUSH, behaviour, times=1))
            await day.at(f"09:{minute}", day.purchase("250.00"))
            await day.want(INBOX)
            await day.stack.move_to(day.now + timedelta(seconds=30))
            await day.want("push to laptop: Large transaction")


async def test_a_test_reaches_the_browser_at_once_and_says_what_came_of_it(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        laptop = await subscribe(day, "laptop")
        await day.post(day.profile(locale="de-DE"))
        bank = day.stack.partner_token(PARTNER)
        words = {"kind": "system", "channel": "push", "subject": "Ein Test: {{ title }}", "text": "{{ message }}"}
        template = await day.must("POST", "/api/v2/templates", words, bank)
        await day.must("POST", f"/api/v2/templates/{template['id']}:activate", {}, bank)
        assert await day.must("POST", f"{PATH}/{laptop}:test", {}) == {
            "outcome": "accepted",
            "status_code": "201",
            "answer": "",
        }
        await day.want("push to laptop: Ein Test: Eine Testnachricht")
        again = await day.ask("POST", f"{PATH}/{laptop}:test", {})
        assert (again.status, again.body["reason"]) == (429, "rate_limited")
        day.stack.push.unsubscribe("laptop")
        await day.at("09:01")
        result = await day.must("POST", f"{PATH}/{laptop}:test", {})
        assert (result["outcome"], result["status_code"]) == ("permanent", "410")
        assert (await day.must("GET", PATH))["push_subscriptions"] == []


async def test_only_push_services_that_are_known_are_called(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        good = day.stack.push.browser("laptop")
        for endpoint in (
            "https://example.com/push/1",
            "https://evilfcm.googleapis.com.example.com/1",
            "https://notfcm.googleapis.com/1",
            "http://fcm.googleapis.com/1",
            "https://user@fcm.googleapis.com/1",
            "http://127.0.0.1:9/push/laptop",
            "",
        ):
            refused = await day.ask("POST", PATH, {**good, "endpoint": endpoint})
            assert refused.status == 400, endpoint
            assert [one["field"] for one in refused.body["errors"]] == ["push_subscription.endpoint"], endpoint
        for service in ("fcm.googleapis.com", "updates.push.services.mozilla.com", "web.push.apple.com"):
            await day.must("POST", PATH, {**good, "endpoint": f"https://{service}/1"})


async def test_a_key_that_is_no_point_of_the_curve_is_refused(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        good = day.stack.push.browser("laptop")
        wrong = {**good, "keys": {**json.loads(json.dumps(good["keys"])), "p256dh": "B" + "A" * 86}}
        refused = await day.ask("POST", PATH, wrong)
        assert refused.status == 400
        assert [one["field"] for one in refused.body["errors"]] == ["push_subscription.keys.p256dh"]
