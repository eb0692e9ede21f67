"""SendGrid and Twilio over real HTTP, against a small server that misbehaves."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl

import jsonschema
import pytest
from aiohttp import web
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tocsin_devstack.contracts import sendgrid_mail_send, twilio_create_message
from tocsin_dispatcher.providers.http import http_client
from tocsin_dispatcher.providers.mailbox import Mailbox
from tocsin_dispatcher.providers.sendgrid import SendGrid, SendGridAccount
from tocsin_dispatcher.providers.twilio import Twilio, TwilioAccount
from tocsin_dispatcher.providers.twilio_look_up import TwilioLookUp
from tocsin_dispatcher.values import (
    Attempt,
    Channel,
    EmailMessage,
    MailboxEntry,
    OutcomeKind,
    SmsMessage,
    SmsSize,
)

CONTRACTS = Path(__file__).parents[4].parent / "shared" / "provider-contracts"
K = OutcomeKind
MAIL = EmailMessage("ann@example.com", "Hello", "text", "<p>html</p>", "https://bank.example/u/token")
TEXT = SmsMessage("+13125550100", "Hello", SmsSize(1, Decimal("0.0079")))
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """A server on a free port whose every path is `handler`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def providers(base_url: str, limit: float = 5) -> AsyncIterator[tuple[SendGrid, Twilio, TwilioLookUp]]:
    """The providers, calling `base_url`."""
    async with http_client(timedelta(seconds=limit), TracerProvider().get_tracer("test")) as http:
        account = TwilioAccount("AC1", "token", "+15017250604", "", base_url, "https://bank.example")
        yield (
            SendGrid(SendGridAccount("SG.key", "alerts@bank.example", "First Bank", base_url), http),
            Twilio(account, http),
            TwilioLookUp(account, http),
        )


async def accept_mail(_request: web.Request) -> web.Response:
    return web.Response(status=202, headers={"X-Message-Id": "abc"})


async def hang(_request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def reset(request: web.Request) -> web.Response:
    await request.read()
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def test_sendgrid_takes_a_mail_with_our_ids_and_one_recipient(attempt: Attempt) -> None:
    seen: list[tuple[str, dict[str, object]]] = []

    async def record(request: web.Request) -> web.Response:
        seen.append((request.headers["Authorization"], await request.json()))
        return await accept_mail(request)

    async with serving(record) as url, providers(url) as (sendgrid, _, _):
        outcome = await sendgrid.send(MAIL, attempt)
    assert (outcome.kind, outcome.provider_id) == (K.ACCEPTED, "abc")
    [(authorization, mail)] = seen
    assert authorization == "Bearer SG.key"
    assert mail["personalizations"] == [{"to": [{"email": "ann@example.com"}]}]
    assert [part["type"] for part in mail["content"]] == ["text/plain", "text/html"]  # type: ignore[attr-defined]
    assert mail["headers"] == {
        "List-Unsubscribe": "<https://bank.example/u/token>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    assert mail["custom_args"] == {
        "delivery_id": str(attempt.delivery_id),
        "delivery_attempt": "1",
        "partner_id": "1",
    }


@pytest.mark.skipif(not CONTRACTS.exists(), reason="the providers' documents are not here")
async def test_a_mail_is_what_sendgrids_own_document_asks_for(attempt: Attempt) -> None:
    document = json.loads((CONTRACTS / "sendgrid_mail_send.corrected.openapi.json").read_text())
    schema = document["components"]["requestBodies"]["PostMailSend"]["content"]["application/json"]["schema"]
    async with providers("http://127.0.0.1:9") as (sendgrid, _, _):
        payload = sendgrid.payload(MAIL, attempt)
    jsonschema.Draft202012Validator({**document, **schema}).validate(payload)


@pytest.mark.parametrize(
    ("name", "wanted"), [("Bank", {"email": "a@b.example", "name": "Bank"}), ("", {"email": "a@b.example"})]
)
async def test_a_sender_without_a_name_has_none(attempt: Attempt, name: str, wanted: dict[str, str]) -> None:
    async with http_client(timedelta(seconds=5), TracerProvider().get_tracer("test")) as http:
        sendgrid = SendGrid(SendGridAccount("SG.key", "a@b.example", name, "http://127.0.0.1:9"), http)
        assert sendgrid.payload(MAIL, attempt)["from"] == wanted


async def test_twilio_takes_a_form_whose_callback_names_our_delivery(attempt: Attempt) -> None:
    seen: list[tuple[str, str, dict[str, list[str]]]] = []

    async def record(request: web.Request) -> web.Response:
        form = parse_qs((await request.read()).decode())
        seen.append((request.path, request.headers["Authorization"], form))
        return web.json_response({"sid": "SM1", "status": "queued"}, status=201)

    async with serving(record) as url, providers(url) as (_, twilio, _):
        outcome = await twilio.send(TEXT, attempt)
    assert (outcome.kind, outcome.provider_id) == (K.ACCEPTED, "SM1")
    [(path, authorization, form)] = seen
    assert path == "/2010-04-01/Accounts/AC1/Messages.json"
    assert authorization == "Basic " + base64.b64encode(b"AC1:token").decode()
    assert form == {
        "To": ["+13125550100"],
        "From": ["+15017250604"],
        "Body": ["Hello"],
        "StatusCallback": [
            "https://bank.example/webhooks/twilio/status"
            f"?partner_id=1&delivery_id={attempt.delivery_id}&attempt=1#rc=5&rp=all"
        ],
    }


@pytest.mark.skipif(not CONTRACTS.exists(), reason="the providers' documents are not here")
@pytest.mark.parametrize("service", ["", "MG" + "0" * 32])
async def test_a_text_as_it_is_sent_is_what_twilios_own_document_asks_for(attempt: Attempt, service: str) -> None:
    """From a number, and by a Messaging Service; in letters of two alphabets."""
    sent: list[dict[str, str]] = []

    async def record(request: web.Request) -> web.Response:
        sent.append(dict(parse_qsl((await request.read()).decode(), keep_blank_values=True, strict_parsing=True)))
        return web.json_response({"sid": "SM1"}, status=201)

    async with serving(record) as url:
        account = TwilioAccount("AC" + "0" * 32, "token", "+15017250604", service, url, "https://bank.example")
        async with http_client(timedelta(seconds=5), TracerProvider().get_tracer("test")) as http:
            for words in ("Low balance: 12.50 & more = 100%", "残高が少なくなっています"):
                await Twilio(account, http).send(replace(TEXT, text=words), attempt)
    check = twilio_create_message(CONTRACTS)
    assert [check(form) for form in sent] == [[], []]
    assert [form["Body"] for form in sent] == ["Low balance: 12.50 & more = 100%", "残高が少なくなっています"]
    assert all(("MessagingServiceSid" in form, "From" in form) == (bool(service), not service) for form in sent)
    assert check({**sent[0], "StatusCallback": "nowhere in particular"}), "the document is looked at"


@pytest.mark.skipif(not CONTRACTS.exists(), reason="the providers' documents are not here")
async def test_a_mail_as_it_is_sent_is_what_sendgrids_own_document_asks_for(attempt: Attempt) -> None:
    """Over the wire, in letters of other alphabets, and with a link as long as one can be."""
    sent: list[dict[str, object]] = []

    async def record(request: web.Request) -> web.Response:
        sent.append(await request.json())
        return await accept_mail(request)

    unusual = EmailMessage(
        "juergen@example.com", "Grüße 残高", "text\n残高", "<p>é</p>", "https://b.example/u/" + "t" * 400
    )
    async with serving(record) as url, providers(url) as (sendgrid, _, _):
        for mail in (MAIL, unusual):
            await sendgrid.send(mail, attempt)
    check = sendgrid_mail_send(CONTRACTS)
    assert [check(body) for body in sent] == [[], []]
    assert [body["subject"] for body in sent] == ["Hello", "Grüße 残高"]
    assert check({**sent[0], "personalizations": []}), "the document is looked at"


def test_an_account_does_not_show_its_secret() -> None:
    """Wherever an error or a log shows it."""
    texts = TwilioAccount("AC1", "a-secret-token", "+15017250604", "", "https://api.example", "https://bank.example")
    mails = SendGridAccount("SG.a-secret", "a@b.example", "Bank", "https://api.example")
    assert "AC1" in repr(texts)
    assert "secret" not in repr(texts) + repr(mails)


async def test_a_refused_connection_is_transient(attempt: Attempt) -> None:
    async with serving(accept_mail) as url:
        gone = url
    async with providers(gone) as (sendgrid, twilio, _):
        assert (await sendgrid.send(MAIL, attempt)).kind is K.TRANSIENT
        assert (await twilio.send(TEXT, attempt)).kind is K.TRANSIENT


@pytest.mark.parametrize("handler", [hang, reset])
async def test_silence_after_the_request_was_written_is_unknown(attempt: Attempt, handler: Handler) -> None:
    async with serving(handler) as url, providers(url, limit=0.2) as (sendgrid, twilio, _):
        assert (await sendgrid.send(MAIL, attempt)).kind is K.UNKNOWN
        assert (await twilio.send(TEXT, attempt)).kind is K.UNKNOWN


async def test_mails_that_hang_keep_no_text_from_leaving(attempt: Attempt) -> None:
    hanging = asyncio.Semaphore(0)

    async def hang_mails(request: web.Request) -> web.Response:
        if "Messages" in request.path:
            return web.json_response({"sid": "SM1"}, status=201)
        hanging.release()
        return await hang(request)

    mails = 250  # more than the slots of a lane, and more than a pool holds by itself
    async with serving(hang_mails) as url, providers(url, limit=20) as (sendgrid, twilio, _):
        sending = [asyncio.create_task(sendgrid.send(MAIL, attempt)) for _ in range(mails)]
        async with asyncio.timeout(15):
            for _ in range(mails):
                await hanging.acquire()
            assert (await twilio.send(TEXT, attempt)).kind is K.ACCEPTED
        for mail in sending:
            mail.cancel()
        await asyncio.wait(sending)


@pytest.mark.parametrize(
    ("status", "mail", "text"),
    [
        (429, K.THROTTLED, K.THROTTLED),
        (500, K.TRANSIENT, K.UNKNOWN),
        (401, K.ACCOUNT, K.ACCOUNT),
        (400, K.PERMANENT, K.PERMANENT),
        (307, K.ACCOUNT, K.ACCOUNT),
    ],
)
async def test_statuses_over_the_wire(attempt: Attempt, status: int, mail: OutcomeKind, text: OutcomeKind) -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(status=status, body=b"\x00garbage", headers={"Location": "https://elsewhere.example"})

    async with serving(refuse) as url, providers(url) as (sendgrid, twilio, _):
        assert (await sendgrid.send(MAIL, attempt)).kind is mail
        assert (await twilio.send(TEXT, attempt)).kind is text


async def test_bytes_that_are_no_http_are_unknown(attempt: Attempt) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, providers(f"http://127.0.0.1:{port}") as (sendgrid, _, _):
        assert (await sendgrid.send(MAIL, attempt)).kind is K.UNKNOWN


async def test_a_lost_text_message_is_looked_up_by_recipient_and_day(attempt: Attempt) -> None:
    asked: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(dict(request.query))
        created = "Wed, 05 Nov 2025 18:00:01 +0000"
        message = {"sid": "SM9", "status": "sent", "date_created": created, "body": "Hello"}
        return web.json_response({"messages": [message]})

    async with serving(answer) as url, providers(url) as (_, _, look_up):
        messages = await look_up.made("+13125550100", attempt)
    assert messages is not None
    assert [(made.outcome.kind, made.provider_id, made.text) for made in messages] == [(K.ACCEPTED, "SM9", "Hello")]
    assert asked == [{"To": "+13125550100", "DateSent>": "2025-11-05", "PageSize": "200"}]


async def test_a_call_is_a_client_span_of_the_deliverys_trace_and_tells_no_address(attempt: Attempt) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    traced = Attempt(1, attempt.delivery_id, 1, "sendgrid", "key", attempt.started_at, traceparent=TRACE)
    async with serving(accept_mail) as url, http_client(timedelta(seconds=5), provider.get_tracer("test")) as http:
        await SendGrid(SendGridAccount("SG.key", "a@bank.example", "Bank", url), http).send(MAIL, traced)
    [span] = spans.get_finished_spans()
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}" == TRACE.split("-")[1]
    assert span.attributes is not None
    assert span.attributes["tocsin.outcome"] == "accepted"
    assert "ann@example.com" not in str(span.attributes)


async def test_the_mailbox_keeps_what_would_have_been_sent(attempt: Attempt) -> None:
    kept: list[MailboxEntry] = []

    async def keep(entry: MailboxEntry, _attempt: Attempt) -> None:
        kept.append(entry)

    mailbox = Mailbox(keep)
    assert (await mailbox.send(MAIL, attempt)).kind is K.ACCEPTED
    assert (await mailbox.send(TEXT, attempt)).kind is K.ACCEPTED
    assert [(entry.channel, entry.destination) for entry in kept] == [
        (Channel.EMAIL, "ann@example.com"),
        (Channel.SMS, "+13125550100"),
    ]
