"""A person proves that a phone or an e-mail address is theirs, by a code that goes there."""

import re
from typing import Any

from tests.acceptance.conftest import OpenTimetable
from tests.acceptance.timetable import EMAIL, PHONE, Timetable
from tocsin_devstack.faults import CallBehaviour, CallFault, Provider
from tocsin_devstack.wiring import SENDER_NUMBER

START = "2025-11-03 23:00"
LIMIT = {"amount": "100.00", "currency": "USD"}
VERIFY, CONFIRM = "/api/v2/preferences/{}:verify", "/api/v2/preferences/{}:confirm"
TEXT = r"Tocsin: your code is (\d{6}), valid for 10 minutes. Tell it to nobody."


def unverified(day: Timetable, **changes: str) -> Any:
    """The person's profile where the bank vouches for nothing."""
    return day.profile(email_verified=False, phone_verified=False, **changes)


def texts(day: Timetable) -> list[str]:
    """What came to the person's phone, oldest first."""
    return [message.text for message in day.stack.twilio.account.to(PHONE)]


def code(text: str) -> str:
    """The code in a text message."""
    found = re.fullmatch(TEXT, text)
    assert found is not None, text
    return found[1]


async def asked(day: Timetable, channel: str = "sms") -> Any:
    """Ask for a code; the answer once the message is sent."""
    answer = await day.must("POST", VERIFY.format(channel), {})
    await day.stack.settle()
    return answer


async def typed(day: Timetable, what: str, channel: str = "sms") -> bool:
    """Type a code; whether the address is verified by it."""
    answer = await day.must("POST", CONFIRM.format(channel), {"code": what})
    return bool(answer["verified"])


async def verified(day: Timetable, which: str = "phone") -> bool:
    """Whether the person sees that the address is verified."""
    return bool((await day.must("GET", "/api/v2/preferences"))[which]["verified"])


async def test_a_code_makes_a_phone_usable_until_the_bank_changes_it(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await day.post(unverified(day))
        await day.must("PATCH", "/api/v2/preferences", {"quiet_hours": {"enabled": True}})
        await day.alert(transaction_limit=LIMIT, email_delivery=False, sms_delivery=True)
        await day.post(day.purchase("150.00"))
        await day.want("inbox: Large transaction")
        assert await asked(day) == {"resend_at": "2025-11-04T05:01:00Z", "expires_at": "2025-11-04T05:10:00Z"}
        (text,) = texts(day)
        assert not await typed(day, f"{(int(code(text)) + 1) % 1_000_000:06d}"), "a wrong one"
        assert await typed(day, code(text))
        assert await typed(day, code(text)), "sent again, for the answer was lost"
        assert await verified(day)
        await day.post(day.purchase("160.00"))
        await day.want("inbox: Large transaction", f"sms: {text}", "sms: Large transaction: $160.00 (limit: $100.00)")

        await day.post(unverified(day, locale="en-GB"))
        assert await verified(day), "the bank says nothing new of the phone"
        await day.post(unverified(day, phone="+13125550777"))
        assert not await verified(day)
        await day.post(unverified(day, phone=PHONE))
        assert not await verified(day), "what was theirs once may be somebody else's by now"


async def test_an_email_address_is_verified_the_same_way(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await day.post(unverified(day))
        await asked(day, "email")
        (message,) = day.stack.sendgrid.account.to(EMAIL)
        assert message.subject == "Your verification code"
        assert "unsubscribe" not in message.text.lower()
        (found,) = re.findall(r"\b\d{6}\b", message.text)
        assert await typed(day, found, "email")
        assert await verified(day, "email")
        assert not await verified(day, "phone")
        await day.want("email: Your verification code")


async def test_five_tries_ten_minutes_and_one_a_minute(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await day.post(unverified(day))
        first = await asked(day)
        assert await asked(day) == first, "within the minute"
        assert len(texts(day)) == 1
        right = code(texts(day)[0])
        for wrong in range(5):
            assert not await typed(day, f"{(int(right) + 1 + wrong) % 1_000_000:06d}")
        assert not await typed(day, right), "that was the sixth"

        await day.stack.move_to(day.instant("23:01"))
        await asked(day)
        assert not await typed(day, right), "the one before"
        await day.stack.move_to(day.instant("23:11"))
        assert not await typed(day, code(texts(day)[1])), "ten minutes are over"
        await asked(day)
        assert await typed(day, code(texts(day)[2]))
        day.forgive()


async def test_whoever_has_no_phone_or_may_get_none_gets_the_same_answer(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await day.must("PATCH", "/api/v2/partner-settings", {"countries": ["CA", "US"]}, day.stack.partner_token())
        people = {2: "", 3: "+4915112345678", 4: PHONE, 5: "+14165550123"}
        for user, phone in people.items():
            await day.post(unverified(day, user_id=str(user), phone=phone))
        day.stack.twilio.receive("+14165550123", SENDER_NUMBER, "STOP")
        await day.stack.settle()
        answers = {}
        for user in (*people, 6):
            answer = await day.ask("POST", VERIFY.format("sms"), {}, day.stack.user_token(user))
            answers[user] = (answer.status, str(answer.body), tuple(sorted(answer.headers)))
            await day.stack.settle()
        assert len(set(answers.values())) == 1, answers
        assert [message.recipient for message in day.stack.twilio.account.accepted] == [PHONE]
        page = await day.must("GET", "/api/v2/admin/deliveries?channel=sms", token=day.stack.admin_token())
        came = {int(one["user_id"]): one.get("reason", "") for one in page["deliveries"]}
        assert came == {2: "no_address", 3: "country_not_allowed", 4: "", 5: "suppressed_stopped", 6: "no_address"}
        assert {one["purpose"] for one in page["deliveries"]} == {"verification"}
        day.forgive()


async def test_a_day_has_its_limits_for_a_person_and_for_a_number(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        for user in (1, 2):
            await day.post(unverified(day, user_id=str(user)))
        for minute in range(10):
            await day.stack.move_to(day.instant(f"09:{10 + minute}"))
            await asked(day)
        assert len(texts(day)) == 6, "a number gets six a day, and who asked is not told"
        await day.stack.move_to(day.instant("09:30"))
        refused = await day.ask("POST", VERIFY.format("sms"), {})
        assert (refused.status, refused.body["reason"]) == (429, "rate_limited")
        assert int(refused.headers["Retry-After"]) == 60 * 60 * 8 + 30 * 60, "until midnight, UTC"
        other = await day.ask("POST", VERIFY.format("sms"), {}, day.stack.user_token(2))
        assert other.status == 200
        await day.stack.settle()
        assert len(texts(day)) == 6
        await day.stack.move_to(day.instant("18:01"))
        await asked(day)
        assert len(texts(day)) == 7, "the next day"
        day.forgive()


async def test_a_code_waits_for_its_provider_no_longer_than_it_is_valid(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await day.post(unverified(day))
        day.stack.faults.order(CallFault(Provider.TWILIO, CallBehaviour.STATUS, status=429, code=20429))
        await asked(day)
        await day.stack.move_to(day.instant("23:05"))
        await day.must("POST", VERIFY.format("sms"), {})
        await day.stack.move_to(day.instant("23:06"))
        day.stack.faults.forget_calls()
        await day.stack.move_to(day.instant("23:59"))
        (text,) = texts(day)
        assert re.fullmatch(r"Tocsin: your code is \d{6}, valid for [789] minutes. Tell it to nobody.", text), text
        page = await day.must("GET", "/api/v2/admin/deliveries?channel=sms", token=day.stack.admin_token())
        assert sorted(one["status"] for one in page["deliveries"]) == ["delivered", "expired"]
        day.forgive()
