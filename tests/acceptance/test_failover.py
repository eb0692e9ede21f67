"""SendGrid is out: e-mail leaves by SMTP, and by SendGrid again when it is back."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.acceptance.conftest import OpenStack, OpenTimetable
from tests.acceptance.timetable import EMAIL, Timetable
from tocsin_devstack.faults import CallBehaviour, CallFault, Provider, Receiver
from tocsin_devstack.reading import reading
from tocsin_devstack.stack import Stack
from tocsin_kit.clock import SystemClock

LIMIT = {"amount": "100.00", "currency": "USD"}
SETTINGS = {"dispatcher": {"TOCSIN_PROVIDER_SECONDS": "1", "RATE_LIMIT_HOURLY": "100"}}
START = "2025-11-03 09:00"
LARGE = "Large transaction"


async def purchases(day: Timetable, many: int) -> None:
    """So many large purchases at one instant."""
    for _ in range(many):
        await day.post(day.purchase("250.00"))


def by_sendgrid(day: Timetable) -> int:
    """How many e-mails SendGrid took."""
    return len(day.stack.sendgrid.account.to(EMAIL))


def by_smtp(day: Timetable) -> int:
    """How many e-mails the SMTP server took."""
    return len(day.stack.smtp.account.to(EMAIL))


async def attempts(day: Timetable) -> Sequence[Any]:
    """What came of all attempts, by provider."""
    return [
        tuple(row)
        for row in await day.databases.of["dispatcher"].fetch(
            "SELECT provider, outcome, count(*) FROM attempts GROUP BY 1, 2 ORDER BY 1, 2"
        )
    ]


async def opened_at(day: Timetable) -> datetime:
    """When SendGrid's breaker opened."""
    rows = await day.databases.of["dispatcher"].fetch("SELECT state, since FROM breakers WHERE provider = 'sendgrid'")
    [(state, since)] = [tuple(row) for row in rows]
    assert state == "open"
    assert isinstance(since, datetime)
    return since


def levels(registries: Sequence[CollectorRegistry]) -> list[float | None]:
    """What each dispatcher shows of SendGrid's breaker: 2 is open."""
    return [one.get_sample_value("circuit_breaker_state", {"service": "sendgrid"}) for one in registries]


@pytest.mark.parametrize(
    "fault",
    [
        CallFault(Provider.SENDGRID, CallBehaviour.STATUS, status=500),
        CallFault(Provider.SENDGRID, CallBehaviour.RESET_BEFORE),
    ],
)
async def test_while_sendgrid_is_out_mail_leaves_by_smtp_within_two_seconds_and_goes_back(
    timetable: OpenTimetable, fault: CallFault
) -> None:
    async with timetable(START, smtp=True, settings=SETTINGS) as day:
        await day.alert(transaction_limit=LIMIT)
        day.stack.faults.order(fault)
        await day.stack.move_to(day.instant("09:05"))
        await purchases(day, 5)
        opened = await opened_at(day)
        assert by_smtp(day) == 5
        assert max(mail.at for mail in day.stack.smtp.account.accepted) - opened <= timedelta(seconds=2)

        await day.stack.move_to(day.stack.clock.now() + timedelta(seconds=30))
        await purchases(day, 3)
        assert by_smtp(day) == 8
        assert sum(many for provider, _, many in await attempts(day) if provider == "sendgrid") == 5, "not asked"

        day.stack.faults.forget_calls()
        await day.stack.move_to(day.stack.clock.now() + timedelta(seconds=31))
        await purchases(day, 2)  # the two probes
        await purchases(day, 4)
        assert (by_sendgrid(day), by_smtp(day)) == (6, 8)
        page = await day.must("GET", "/api/v2/admin/deliveries?channel=email", token=day.stack.admin_token())
        assert {one["status"] for one in page["deliveries"]} == {"sent", "delivered"}
        day.forgive()


async def test_an_account_that_sendgrid_refuses_costs_no_retry_and_no_time(timetable: OpenTimetable) -> None:
    async with timetable(START, smtp=True, settings=SETTINGS) as day:
        await day.alert(transaction_limit=LIMIT)
        day.stack.faults.order(CallFault(Provider.SENDGRID, CallBehaviour.STATUS, status=401))
        await day.at("09:05", day.purchase("250.00"))
        await day.want(f"email: {LARGE}", f"inbox: {LARGE}")
        assert await attempts(day) == [("sendgrid", "account", 1), ("smtp", "accepted", 1)]
        [mail] = day.stack.smtp.account.accepted
        assert mail.at == day.instant("09:05")
        assert mail.text
        assert mail.html
        [row] = await day.databases.of["dispatcher"].fetch(
            "SELECT id, provider, provider_id, failures, status FROM deliveries WHERE channel = 'email'"
        )
        assert tuple(row) == (row[0], "smtp", f"{row[0]}.2@tocsin.example", 0, "sent")
        assert (mail.delivery_id, mail.attempt) == (str(row[0]), 2)


async def until_agreed(running: Stack) -> datetime:
    """When each dispatcher showed SendGrid's breaker as open."""
    async with asyncio.timeout(10):
        while levels(running.registries["dispatcher"]) != [2, 2]:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 0.01)
    return running.clock.now()


async def test_two_dispatchers_agree_within_a_second_that_sendgrid_is_left_alone(open_stack: OpenStack) -> None:
    async with (
        open_stack(SystemClock(), smtp=True, settings=SETTINGS, replicas={"dispatcher": 2}) as running,
        reading(running.database_urls) as databases,
    ):
        day = Timetable(running, databases, "America/Chicago")
        await day.begin()
        await day.alert(transaction_limit=LIMIT)
        running.faults.order(CallFault(Provider.SENDGRID, CallBehaviour.STATUS, status=401))
        await purchases(day, 1)
        assert await until_agreed(running) - await opened_at(day) <= timedelta(seconds=1)
        await purchases(day, 20)
        assert await attempts(day) == [("sendgrid", "account", 1), ("smtp", "accepted", 21)]


async def test_an_address_that_the_smtp_server_does_not_know_is_suppressed(timetable: OpenTimetable) -> None:
    settings = {"dispatcher": {**SETTINGS["dispatcher"], "SENDGRID_API_KEY": None}}
    async with timetable(START, smtp=True, settings=settings) as day:
        await day.alert(transaction_limit=LIMIT)
        order = CallFault(Receiver.SMTP, CallBehaviour.STATUS, recipient=EMAIL, status=550, message="5.1.1 who?")
        day.stack.faults.order(order)
        await day.at("09:05", day.purchase("250.00"))
        await day.want(f"inbox: {LARGE}")
        assert (await day.must("GET", "/api/v2/preferences"))["email"]["suppressed"] is True


async def test_a_mail_that_the_smtp_server_took_without_a_word_is_marked_when_it_is_repeated(
    timetable: OpenTimetable,
) -> None:
    settings = {"dispatcher": {**SETTINGS["dispatcher"], "SENDGRID_API_KEY": None}}
    async with timetable(START, smtp=True, settings=settings) as day:
        await day.alert(transaction_limit=LIMIT)
        day.stack.faults.order(CallFault(Receiver.SMTP, CallBehaviour.RESET_AFTER, times=1))
        await day.at("09:05", day.purchase("250.00"))
        await day.want(f"email: {LARGE}", f"inbox: {LARGE}")
        await day.stack.move_to(day.instant("09:06"))
        await day.want(f"email: {LARGE}")
        rows = await day.databases.of["dispatcher"].fetch(
            "SELECT outcome, possible_duplicate FROM attempts ORDER BY number"
        )
        assert [tuple(row) for row in rows] == [("unknown", False), ("accepted", True)]


async def test_with_no_credentials_at_all_the_local_mailbox_has_the_mail(timetable: OpenTimetable) -> None:
    settings = {"dispatcher": {**SETTINGS["dispatcher"], "SENDGRID_API_KEY": None}}
    async with timetable(START, settings=settings) as day:
        await day.alert(transaction_limit=LIMIT)
        await day.at("09:05", day.purchase("250.00"))
        await day.want(f"inbox: {LARGE}")
        rows = await day.databases.of["dispatcher"].fetch("SELECT subject FROM mailbox WHERE channel = 'email'")
        assert [tuple(row) for row in rows] == [(LARGE,)]
