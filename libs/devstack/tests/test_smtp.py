"""The simulated SMTP server is as strict as a relay, and takes its orders over HTTP as the others do."""

import smtplib
from asyncio import to_thread
from collections.abc import AsyncIterator, Callable
from email.message import EmailMessage
from typing import TypeVar

import aiohttp
import pytest

from tocsin_devstack.server import serving
from tocsin_devstack.smtp import SmtpSimulator, taking_mail
from tocsin_kit.activity import Activity
from tocsin_kit.clock import SteppedClock

USERNAME, PASSWORD = "tocsin", "a password for tests"
ID = "<01935f4e-0000-7000-8000-000000000002.3@bank.example>"
T = TypeVar("T")


@pytest.fixture
async def relay(clock: SteppedClock) -> AsyncIterator[SmtpSimulator]:
    """A server that takes mail after log-in."""
    simulator = SmtpSimulator(clock=clock, activity=Activity(), username=USERNAME, password=PASSWORD)
    async with taking_mail(simulator):
        yield simulator


def mail(**headers: str) -> EmailMessage:
    """A message that is well made, but for these headers."""
    made = EmailMessage()
    told = {"From": "a@bank.example", "To": "pat@example.com", "Subject": "Grüße", "Date": "Mon, 3 Nov 2025 12:00:00 Z"}
    for name, value in {**told, "Message-ID": ID, **headers}.items():
        if value:
            made[name] = value
    made.set_content("text\n.dot\n")
    made.add_alternative("<p>html</p>", subtype="html")
    return made


async def by_python(relay: SmtpSimulator, work: Callable[[smtplib.SMTP], T], *, log_in: bool = True) -> T:
    """What the standard library's own client, which is not ours, does with it."""

    def talk() -> T:
        with smtplib.SMTP("127.0.0.1", relay.port, timeout=5) as client:
            if log_in:
                client.login(USERNAME, PASSWORD)
            return work(client)

    return await to_thread(talk)


async def test_a_good_mail_is_taken_as_it_was_written(relay: SmtpSimulator) -> None:
    await by_python(relay, lambda client: client.send_message(mail()))
    [taken] = relay.account.accepted
    assert (taken.recipient, taken.subject, taken.text) == ("pat@example.com", "Grüße", "text\n.dot\n")
    assert (taken.html, taken.provider_id) == ("<p>html</p>\n", ID.strip("<>"))
    assert (taken.delivery_id, taken.attempt) == (ID[1:37], 3)


async def test_nothing_is_taken_before_log_in_or_by_wrong_credentials(relay: SmtpSimulator) -> None:
    with pytest.raises(smtplib.SMTPSenderRefused) as refused:
        await by_python(relay, lambda client: client.send_message(mail()), log_in=False)
    assert refused.value.smtp_code == 530
    with pytest.raises(smtplib.SMTPAuthenticationError):
        await by_python(relay, lambda client: client.login(USERNAME, "wrong"), log_in=False)
    assert relay.account.accepted == []


@pytest.mark.parametrize("header", ["From", "To", "Date", "Message-ID"])
async def test_a_mail_without_what_is_asked_for_is_refused(relay: SmtpSimulator, header: str) -> None:
    def send(client: smtplib.SMTP) -> object:
        return client.sendmail("a@bank.example", "pat@example.com", mail(**{header: ""}).as_bytes())

    with pytest.raises(smtplib.SMTPDataError):
        await by_python(relay, send)
    assert [refusal.status for refusal in relay.account.refused] == [554]


async def test_a_mail_to_two_is_refused(relay: SmtpSimulator) -> None:
    def send(client: smtplib.SMTP) -> object:
        return client.sendmail("a@bank.example", ["pat@example.com", "sam@example.com"], mail().as_bytes())

    with pytest.raises(smtplib.SMTPDataError):
        await by_python(relay, send)
    assert relay.account.accepted == []


async def test_commands_out_of_order_are_refused(relay: SmtpSimulator) -> None:
    def ask(client: smtplib.SMTP) -> list[int]:
        commands = ("RCPT TO:<a@b.example>", "DATA", "MAIL FROM:a@b.example", "TURN")
        return [client.docmd(command)[0] for command in commands]

    assert await by_python(relay, ask) == [503, 503, 501, 500]


async def test_orders_come_over_http_for_a_stage_and_a_recipient(relay: SmtpSimulator) -> None:
    order = {"provider": "smtp", "behaviour": "status", "status": 452, "stage": "rcpt", "recipient": "pat@example.com"}
    async with serving(relay) as url, aiohttp.ClientSession() as http:
        async with http.post(f"{url}/_control/faults", json={**order, "times": 1}) as answer:
            assert answer.status == 204
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            await by_python(relay, lambda client: client.send_message(mail()))
        await by_python(relay, lambda client: client.send_message(mail()))
        async with http.get(f"{url}/_control/account") as shown:
            accepted = (await shown.json())["accepted"]
        async with http.get(f"{url}/_control/calls") as shown:
            calls = await shown.json()
    assert refused.value.recipients["pat@example.com"][0] == 452
    assert [one["recipient"] for one in accepted] == ["pat@example.com"]
    assert [call["recipient"] for call in calls["calls"]] == 2 * ["pat@example.com"], "the refused one is a call too"
    assert [one["recipient"] for one in calls["taken"]] == ["pat@example.com"]
    assert calls["refused"] == [], "by its order, not by itself"
