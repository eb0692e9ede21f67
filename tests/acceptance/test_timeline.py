"""What happened to a notification, as a support agent reads it to the user."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tests.acceptance.conftest import OpenTimetable
from tests.acceptance.timetable import Timetable
from tocsin_devstack.faults import CallbackBehaviour, CallbackFault, CallBehaviour, CallFault, Provider

START = "2025-11-03 21:00"
LIMIT = {"amount": "100.00", "currency": "USD"}
BELOW = {"account_id": "11", "threshold": "500.00", "currency": "USD", "direction": "below", "repeat": "on_crossing"}
INTERNAL = ("delivery", "suppress", "breaker", "attempt", "gate", "null", "_", "transient", "tocsin")


async def timeline(day: Timetable, number: int = 0) -> list[dict[str, Any]]:
    """The entries of the user's newest notification but so many."""
    notification = (await day.inbox())[number]
    answer = await day.must("GET", f"/api/v2/notifications/{notification['id']}/timeline")
    entries: list[dict[str, Any]] = answer["entries"]
    asked = f"/api/v2/notifications/{notification['id']}/timeline?partner_id=1"
    assert (await day.must("GET", asked, token=day.stack.admin_token()))["entries"] == entries
    assert sorted(entries, key=lambda one: one["at"]) == entries
    for entry in entries:
        assert not any(word in entry["text"].lower() for word in INTERNAL), entry["text"]
        assert not entry.get("attempt", {}).get("credential"), "which of our keys was used is nobody's business"
    return entries


def told(entries: Sequence[dict[str, Any]], channel: str | None = None) -> list[str]:
    """The sentences, all or those of a channel."""
    return [one["text"] for one in entries if channel is None or one.get("channel", "") == channel]


async def test_a_night_a_recheck_an_opening_and_a_bounce_are_told_in_order(timetable: OpenTimetable) -> None:
    async with timetable(START, callback_step=timedelta(seconds=1)) as day:
        await day.must("PATCH", "/api/v2/preferences", {"quiet_hours": {"enabled": True}})
        await day.post(day.profile(phone_verified=False))
        await day.alert(name="Rent money", account_threshold=BELOW, sms_delivery=True, push_delivery=True)
        events = ("processed", "deferred", "delivered", "open", "bounce")
        day.stack.faults.order(CallbackFault(Provider.SENDGRID, CallbackBehaviour.OUTCOME, events=events))
        await day.at("23:30", day.account("480.00"))
        (notification,) = await day.inbox()
        await day.must("PUT", f"/api/v2/notifications/{notification['id']}/read", {})
        await day.stack.move_to(day.instant("2025-11-04 09:00"))
        entries = await timeline(day)
        assert told(entries, "") == [
            'Your alert "Rent money" was triggered. Your Checking balance is below $500.00. Current balance: $480.00',
            "You read the notification in your inbox.",
        ]
        assert told(entries, "in_app") == [
            "The notification was put into your inbox.",
            "The notification was shown in your inbox.",
        ]
        assert told(entries, "sms") == [
            "A text message was prepared.",
            "The text message was not sent, because the address was not confirmed.",
        ]
        assert told(entries, "push") == [
            "A browser notification was prepared.",
            "The browser notification was not sent, because no browser of yours was set up for notifications.",
        ]
        assert told(entries, "email") == [
            "An e-mail was prepared.",
            "The e-mail was held until 08:00 on 4 November 2025, because your quiet hours were on.",
            "Before sending, we checked again whether this was still worth telling. It was.",
            "Our e-mail provider took the e-mail.",
            "Our e-mail provider is sending the e-mail.",
            "The mail server asked to be tried again later. Our e-mail provider does so.",
            "The e-mail arrived.",
            "The e-mail was opened.",
            "The e-mail came back: the address does not exist, or takes no messages.",
        ]
        (held,) = [one for one in entries if one["kind"] == "held"]
        assert (held["reason"], held["until"]) == ("quiet_hours", "2025-11-04T14:00:00Z")
        (called,) = [one for one in entries if one["kind"] == "attempted"]
        assert (called["attempt"]["provider"], called["attempt"]["outcome"]) == ("sendgrid", "accepted")
        assert called["destination"] == "p***@example.com"
        day.forgive()


async def test_what_is_no_longer_true_is_told_as_that(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await day.must("PATCH", "/api/v2/preferences", {"quiet_hours": {"enabled": True}})
        await day.alert(account_threshold=BELOW)
        await day.at("23:30", day.account("480.00"))
        await day.want("inbox: Low balance: Checking")
        await day.at("23:45", day.account("900.00"))
        await day.at("2025-11-04 09:00")
        assert told(await timeline(day), "email")[1:] == [
            "The e-mail was held until 08:00 on 4 November 2025, because your quiet hours were on.",
            "The e-mail was not sent, because what it would have told was no longer true when we checked again.",
        ]


async def test_an_outage_a_failure_and_a_retry_by_our_staff_are_told(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await day.alert(transaction_limit=LIMIT)
        faults = day.stack.faults
        faults.order(CallFault(Provider.SENDGRID, CallBehaviour.STATUS, status=503, times=1))
        faults.order(CallFault(Provider.SENDGRID, CallBehaviour.RESET_AFTER, from_call=2, times=1))
        faults.order(CallFault(Provider.SENDGRID, CallBehaviour.STATUS, status=400, from_call=3, times=1))
        faults.order(CallbackFault(Provider.SENDGRID, CallbackBehaviour.DROP))
        await day.post(day.purchase("150.00"))
        await day.stack.move_to(day.instant("21:30"))
        admin = day.stack.admin_token()
        listed = await day.must("GET", "/api/v2/admin/deliveries?channel=email&status=failed", token=admin)
        (failed,) = listed["deliveries"]
        retry = {"channel": "email", "status": "failed", "failed_since": "2025-11-04T00:00:00Z", "partner_id": "1"}
        wrong = {**retry, "failed_until": "2025-11-03T00:00:00Z"}
        assert (await day.ask("POST", "/api/v2/admin/deliveries:retry", wrong, admin)).status == 400
        for other in ({"channel": "sms"}, {"status": "expired"}, {"partner_id": "2"}, {"provider": "smtp"}):
            answer = await day.must("POST", "/api/v2/admin/deliveries:retry", {**retry, **other}, admin)
            assert answer == {"retried": 0, "more": False}, other
        answer = await day.must("POST", "/api/v2/admin/deliveries:retry", {**retry, "provider": "sendgrid"}, admin)
        assert answer == {"retried": 1, "more": False}
        await day.stack.settle()
        assert told(await timeline(day), "email") == [
            "An e-mail was prepared.",
            "Our e-mail provider could not take the e-mail just then.",
            "We handed the e-mail to our e-mail provider and got no clear answer, so it may or may not have left.",
            "Our e-mail provider refused the e-mail for good. An earlier try was never answered, so you may have got it"
            " twice.",
            "Our staff had the e-mail sent again.",
            "Before sending, we checked again whether this was still worth telling. It was.",
            "Our e-mail provider took the e-mail. An earlier try was never answered, so you may have got it twice.",
        ]
        log = await day.databases.of["dispatcher"].fetch("SELECT subject, action, object FROM audit_log")
        assert [tuple(row) for row in log][-1:] == [("operator", "retry_failed_deliveries", "1 deliveries")]
        assert (await day.must("GET", f"/api/v2/admin/deliveries/{failed['id']}?partner_id=1", token=admin))["id"]
        day.forgive()


async def test_a_purchase_told_once_says_what_became_of_the_other_message(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await day.must("PATCH", "/api/v2/preferences", {"quiet_hours": {"enabled": True}})
        await day.alert(name="Market", merchant_name={"merchant_pattern": "Corner", "match_type": "contains"})
        await day.alert(name="Large", transaction_limit=LIMIT)
        await day.at("23:30", day.purchase("150.00"))
        await day.want("inbox: Large transaction", "inbox: Corner Market", "email: Large transaction")
        by_alert = {one["title"]: place for place, one in enumerate(await day.inbox())}
        entries = await timeline(day, by_alert["Corner Market"])
        assert told(entries, "email")[:2] == [
            "An e-mail was prepared.",
            "Another e-mail tells you about the same purchase, so this one was joined with it.",
        ]
        assert told(entries, "email")[-1] == "The e-mail arrived.", "the other one's course is told too"
        (merged,) = [one for one in entries if one["kind"] == "merged"]
        assert merged["joined_delivery_id"] == entries[-1]["delivery_id"] != merged["delivery_id"]


async def test_an_outage_and_expiry_are_told(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await day.alert(transaction_limit=LIMIT)
        day.stack.faults.order(CallFault(Provider.SENDGRID, CallBehaviour.STATUS, status=401))
        await day.post(day.purchase("150.00"))
        await day.stack.move_to(day.instant("2025-11-04 22:00"))
        sentences = told(await timeline(day), "email")
        assert sentences[:3] == [
            "An e-mail was prepared.",
            "Our e-mail provider did not take the e-mail, because of a problem with our account there.",
            "The e-mail had to wait, because our e-mail provider was not working properly.",
        ]
        assert sentences[-1] == "The e-mail could not be sent in time to be of use, so we stopped trying."
        day.forgive()


async def test_a_timeline_is_its_users_and_an_operators(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await day.alert(transaction_limit=LIMIT, email_delivery=False)
        await day.post(day.purchase("150.00"))
        (notification,) = await day.inbox()
        path = f"/api/v2/notifications/{notification['id']}/timeline"
        for token in (day.stack.user_token(2), day.stack.user_token(1, 2)):
            assert (await day.ask("GET", path, token=token)).status == 404
        admin = day.stack.admin_token()
        assert (await day.ask("GET", path, token=admin)).status == 400, "which bank's"
        assert (await day.ask("GET", f"{path}?partner_id=2", token=admin)).status == 404
        assert (await day.ask("GET", f"{path}?partner_id=1")).status == 400, "a user names no bank"
        await day.must("DELETE", f"/api/v2/notifications/{notification['id']}")
        assert (await day.ask("GET", path)).status == 404
        assert (await day.must("GET", f"{path}?partner_id=1", token=admin))["entries"]
        day.forgive()
