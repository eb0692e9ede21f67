"""Providers that misbehave: what is retried, what is final, what is never sent twice."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from tests.acceptance.conftest import OpenTimetable
from tests.acceptance.timetable import EMAIL, PHONE, Timetable
from tocsin_devstack.faults import CallbackBehaviour, CallbackFault, CallBehaviour, CallFault, Provider

START = "2025-11-03 09:00"
LIMIT = {"amount": "100.00", "currency": "USD"}


@asynccontextmanager
async def alerted(timetable: OpenTimetable, **words: Any) -> AsyncIterator[Timetable]:
    """A user with an alert on large transactions, by e-mail and text; the test looks at what came itself."""
    async with timetable(START, settings={"dispatcher": {"TOCSIN_PROVIDER_SECONDS": "1"}}, **words) as opened:
        await opened.alert(transaction_limit=LIMIT, sms_delivery=True)
        yield opened
        opened.forgive()


@pytest.fixture
async def day(timetable: OpenTimetable) -> AsyncIterator[Timetable]:
    """Providers call back at once."""
    async with alerted(timetable) as opened:
        yield opened


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
    """The state of the channel's latest delivery."""
    return str((await deliveries(day, channel))[-1]["status"])


def outcomes(delivery: dict[str, Any]) -> list[tuple[str, bool]]:
    """What came of each attempt, and whether it was marked as one that may repeat a message that has arrived."""
    return [(one["outcome"], one["possible_duplicate"]) for one in delivery["attempts"]]


async def purchase(day: Timetable, when: str = "09:05") -> None:
    await day.stack.move_to(day.instant(when))
    await day.post(day.purchase("250.00"))


async def test_a_500_of_sendgrid_is_retried_until_it_is_accepted(day: Timetable) -> None:
    day.stack.faults.order(CallFault(Provider.SENDGRID, CallBehaviour.STATUS, status=500, times=3))
    await purchase(day)
    assert await state(day, "email") == "retrying"
    await day.stack.move_to(day.instant("09:06"))
    assert await state(day, "email") == "delivered"
    assert len(day.stack.sendgrid.account.to(EMAIL)) == 1
    (only,) = await deliveries(day, "email")
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


@pytest.mark.parametrize(
    ("behaviour", "took"),
    [
        (CallBehaviour.HANG_BEFORE, [2]),
        (CallBehaviour.RESET_BEFORE, [2]),
        (CallBehaviour.HANG_AFTER, [1, 2]),
        (CallBehaviour.RESET_AFTER, [1, 2]),
    ],
)
async def test_silence_of_sendgrid_is_retried_and_the_repeat_is_marked_and_counted(
    day: Timetable, behaviour: CallBehaviour, took: list[int]
) -> None:
    day.stack.faults.order(CallFault(Provider.SENDGRID, behaviour, times=1))
    if 1 in took:  # or its event would settle the matter
        day.stack.faults.order(CallbackFault(Provider.SENDGRID, CallbackBehaviour.DROP, times=1))
    await purchase(day)
    await day.stack.move_to(day.instant("09:10"))
    (only,) = await deliveries(day, "email")
    assert only["status"] == "delivered"
    assert outcomes(only) == [("unknown", False), ("accepted", True)]
    account = day.stack.sendgrid.account
    assert [mail.attempt for mail in account.to(EMAIL)] == took
    assert account.calls_by_delivery == {only["id"]: len(took)}


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


async def test_a_text_that_twilio_never_had_is_looked_up_and_repeated_once_and_marked(day: Timetable) -> None:
    never_had = (
        CallFault(Provider.TWILIO, CallBehaviour.STATUS, status=500, times=1),
        CallFault(Provider.TWILIO, CallBehaviour.HANG_BEFORE, times=1),
        CallFault(Provider.TWILIO, CallBehaviour.RESET_BEFORE, times=1),
    )
    for number, fault in enumerate(never_had):
        day.stack.faults.forget_calls()
        day.stack.faults.order(fault)
        await purchase(day, f"09:{number}5")
        await day.stack.move_to(day.instant(f"09:{number}6"))
        assert await state(day, "sms") == "unknown", fault  # for two minutes a callback may still come
        assert len(day.stack.twilio.account.to(PHONE)) == number, fault
        await day.stack.move_to(day.instant(f"09:{number}9"))
        latest = (await deliveries(day, "sms"))[-1]
        assert latest["status"] == "delivered", fault
        assert outcomes(latest) == [("unknown", False), ("accepted", True)], fault
        assert len(day.stack.twilio.account.to(PHONE)) == number + 1, fault


@pytest.mark.parametrize("calls_back", [True, False])
async def test_a_text_that_twilio_took_without_an_answer_is_not_sent_again(day: Timetable, calls_back: bool) -> None:
    if not calls_back:  # then the look-up finds it
        day.stack.faults.order(CallbackFault(Provider.TWILIO, CallbackBehaviour.DROP))
    for number, behaviour in enumerate((CallBehaviour.HANG_AFTER, CallBehaviour.RESET_AFTER)):
        day.stack.faults.forget_calls()
        day.stack.faults.order(CallFault(Provider.TWILIO, behaviour, times=1))
        await purchase(day, f"09:{number}5")
        await day.stack.move_to(day.instant(f"09:{number}9"))
        latest = (await deliveries(day, "sms"))[-1]
        assert latest["status"] == ("delivered" if calls_back else "sent"), behaviour
        assert latest["attempt"] == 1, behaviour
        assert len(day.stack.twilio.account.to(PHONE)) == number + 1, behaviour


async def test_callbacks_at_once_twice_and_backwards_leave_the_right_state(day: Timetable) -> None:
    for provider in Provider:
        day.stack.faults.order(CallbackFault(provider, CallbackBehaviour.DUPLICATE))
        day.stack.faults.order(CallbackFault(provider, CallbackBehaviour.REORDER))
    await purchase(day)
    await day.stack.move_to(day.instant("09:30"))
    assert await state(day, "email") == "delivered"
    assert await state(day, "sms") == "delivered"


def in_any_order(*events: str) -> list[tuple[str, ...]]:
    """The events in every order, each order told twice over."""
    return [(*order, *order) for order in permutations(events)]


async def after_callbacks(day: Timetable, provider: Provider, events: Sequence[str], code: int | None = None) -> str:
    """The state of a new message after a minute in which these callbacks came, one by one."""
    day.stack.faults.forget_callbacks()
    day.stack.faults.order(CallbackFault(provider, CallbackBehaviour.OUTCOME, events=tuple(events), code=code))
    await purchase(day, f"{day.now + timedelta(minutes=1):%H:%M}")
    await day.stack.move_to(day.now + timedelta(minutes=1))
    return await state(day, "email" if provider is Provider.SENDGRID else "sms")


async def test_events_of_sendgrid_in_any_order_and_twice_leave_the_right_state(timetable: OpenTimetable) -> None:
    right = {
        "delivered": in_any_order("processed", "deferred", "delivered"),
        "bounced": in_any_order("processed", "delivered", "bounce"),
    }
    cases = [(events, wanted) for wanted, orders in right.items() for events in orders]
    async with alerted(timetable, callback_step=timedelta(seconds=1)) as day:
        for number, (events, wanted) in enumerate(cases):
            await day.post(day.profile(email=f"pat{number}@example.com"))  # one that has not bounced
            assert await after_callbacks(day, Provider.SENDGRID, events) == wanted, events
            address = (await day.must("GET", "/api/v2/preferences"))["email"]
            assert address["suppressed"] is (wanted == "bounced"), events


async def test_statuses_of_twilio_in_any_order_and_twice_leave_the_right_state(timetable: OpenTimetable) -> None:
    handset_is_off = 30003
    right = {
        "delivered": in_any_order("queued", "sent", "delivered"),
        "failed": [*in_any_order("sent", "undelivered"), *in_any_order("queued", "failed")],
    }
    async with alerted(timetable, callback_step=timedelta(seconds=1)) as day:
        for wanted, orders in right.items():
            for events in orders:
                assert await after_callbacks(day, Provider.TWILIO, events, handset_is_off) == wanted, events


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
