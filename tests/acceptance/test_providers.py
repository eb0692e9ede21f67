"""Providers that misbehave: what is retried, what is final, what is never sent twice."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tests.acceptance.conftest import OpenTimetable
from tests.acceptance.timetable import EMAIL, PHONE, Timetable
from tocsin_devstack.faults import CallbackBehaviour, CallbackFault, CallBehaviour, CallFault, Provider

START = "2025-11-03 09:00"
LIMIT = {"amount": "100.00", "currency": "USD"}


@pytest.fixture
async def day(timetable: OpenTimetable) -> AsyncIterator[Timetable]:
    """A user with an alert on large transactions, by e-mail and text."""
    async with timetable(START, settings={"dispatcher": {"TOCSIN_PROVIDER_SECONDS": "1"}}) as opened:
        await opened.alert(transaction_limit=LIMIT, sms_delivery=True)
        yield opened
        opened.forgive()


async def deliveries(day: Timetable, channel: str) -> list[dict[str, Any]]:
    """The deliveries of a channel as an operator sees them, with their attempts, oldest first."""
    admin = day.stack.admin_token()
    page = await day.must("GET", f"/api/v2/admin/deliveries?channel={channel}", token=admin)
    ids = [(one["partner_id"], one["id"]) for one in reversed(page["deliveries"])]
    return [
        await day.must("GET", f"/api/v2/admin/deliveries/{id_}?partner_id={partner}", token=admin)
        for partner, id_ in ids
    ]


async def state(day: Timetable, channel: str) -> str:
    """The state of the channel's only delivery."""
    (only,) = await deliveries(day, channel)
    return str(only["status"])


async def purchase(day: Timetable) -> None:
    await day.stack.move_to(day.instant("09:05"))
    await day.post(day.purchase("250.00"))


async def test_a_500_of_sendgrid_is_retried_until_it_is_accepted(day: Timetable) -> None:
    day.stack.faults.order(CallFault(Provider.SENDGRID, CallBehaviour.STATUS, status=500, times=3))
    await purchase(day)
    assert await state(day, "email") == "retrying"
    await day.stack.move_to(day.instant("09:06"))
    assert await state(day, "email") == "delivered"
    assert len(day.stack.sendgrid.account.to(EMAIL)) == 1
    ((only),) = await deliveries(day, "email")
    assert only["attempt"] == 4


async def test_a_429_of_sendgrid_waits_for_its_reset_and_costs_no_retry(day: Timetable) -> None:
    reset = timedelta(seconds=90)
    day.stack.faults.order(CallFault(Provider.SENDGRID, CallBehaviour.STATUS, status=429, reset_in=reset, times=1))
    await purchase(day)
    await day.stack.move_to(day.instant("09:06"))
    assert day.stack.sendgrid.account.to(EMAIL) == []
    await day.stack.move_to(day.instant("09:07"))
    (only,) = await deliveries(day, "email")
    assert (only["status"], only["failures"]) == ("delivered", 0)


@pytest.mark.parametrize("behaviour", [CallBehaviour.HANG_BEFORE, CallBehaviour.RESET_BEFORE])
async def test_silence_of_sendgrid_is_retried_and_the_repeat_is_marked(
    day: Timetable, behaviour: CallBehaviour
) -> None:
    day.stack.faults.order(CallFault(Provider.SENDGRID, behaviour, times=1))
    await purchase(day)
    await day.stack.move_to(day.instant("09:10"))
    (only,) = await deliveries(day, "email")
    assert only["status"] == "delivered"
    first, *_, last = only["attempts"]
    assert first["outcome"] == "unknown"
    assert last["possible_duplicate"]


async def test_a_number_that_sent_stop_is_suppressed_for_good(day: Timetable) -> None:
    day.stack.faults.order(CallFault(Provider.TWILIO, CallBehaviour.STATUS, status=400, code=21610, times=1))
    await purchase(day)
    assert await state(day, "sms") == "failed"
    await day.stack.move_to(day.instant("09:06"))
    await day.post(day.purchase("260.00"))
    await day.stack.move_to(day.instant("09:30"))
    latest = (await deliveries(day, "sms"))[-1]
    assert (latest["status"], latest["reason"]) == ("suppressed", "suppressed_stopped")
    assert day.stack.twilio.account.to(PHONE) == []


async def test_twilio_s_20429_was_not_processed_and_is_sent_once_later(day: Timetable) -> None:
    day.stack.faults.order(CallFault(Provider.TWILIO, CallBehaviour.STATUS, status=429, code=20429, times=1))
    await purchase(day)
    await day.stack.move_to(day.instant("09:15"))
    (only,) = await deliveries(day, "sms")
    assert (only["status"], only["failures"]) == ("delivered", 0)
    assert len(day.stack.twilio.account.to(PHONE)) == 1


async def test_a_text_that_twilio_took_before_it_broke_off_is_not_sent_again(day: Timetable) -> None:
    day.stack.faults.order(CallFault(Provider.TWILIO, CallBehaviour.RESET_AFTER, times=1))
    await purchase(day)
    await day.stack.move_to(day.instant("09:30"))
    assert await state(day, "sms") == "delivered"
    assert len(day.stack.twilio.account.to(PHONE)) == 1


@pytest.mark.parametrize("behaviour", [CallbackBehaviour.DUPLICATE, CallbackBehaviour.REORDER])
async def test_callbacks_twice_and_in_any_order_leave_the_right_state(
    day: Timetable, behaviour: CallbackBehaviour
) -> None:
    for provider in Provider:
        day.stack.faults.order(CallbackFault(provider, behaviour))
    await purchase(day)
    await day.stack.move_to(day.instant("09:30"))
    assert await state(day, "email") == "delivered"
    assert await state(day, "sms") == "delivered"


async def test_a_bounce_is_shown_and_the_address_gets_nothing_more(day: Timetable) -> None:
    order = CallbackFault(Provider.SENDGRID, CallbackBehaviour.OUTCOME, events=("processed", "bounce"))
    day.stack.faults.order(order)
    await purchase(day)
    await day.stack.move_to(day.instant("09:30"))
    assert await state(day, "email") == "bounced"
    await day.post(day.purchase("260.00"))
    await day.stack.move_to(day.instant("09:40"))
    latest = (await deliveries(day, "email"))[-1]
    assert (latest["status"], latest["reason"]) == ("suppressed", "suppressed_bounced")
    assert len(day.stack.sendgrid.account.to(EMAIL)) == 1


async def test_a_forged_callback_is_refused_and_changes_nothing(day: Timetable) -> None:
    for provider in Provider:
        day.stack.faults.order(CallbackFault(provider, CallbackBehaviour.FORGE))
    await purchase(day)
    await day.stack.move_to(day.instant("09:30"))
    answers = {answer.status for answer in (*day.stack.sendgrid.answers, *day.stack.twilio.answers)}
    assert answers == {403}
    assert await state(day, "email") == "sent"
    assert await state(day, "sms") == "sent"
