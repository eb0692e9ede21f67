"""E-mail by SMTP: the bytes that leave, and servers that misbehave, over real sockets."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage as MimeMessage
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tocsin_devstack.faults import CallBehaviour, CallFault, Receiver, Stage
from tocsin_devstack.smtp import SmtpSimulator, taking_mail
from tocsin_dispatcher.providers.smtp import Smtp
from tocsin_dispatcher.providers.smtp_connections import Server, smtp_connections
from tocsin_dispatcher.providers.smtp_mail import Mail, Sender, mail_of
from tocsin_dispatcher.values import Attempt, EmailMessage, Outcome, OutcomeKind
from tocsin_kit.activity import Activity
from tocsin_kit.clock import SteppedClock

K, B, S = OutcomeKind, CallBehaviour, Stage
SENDER = Sender("alerts@bank.example", "First Bank")
MAIL = EmailMessage("ann@example.com", "Hello", "text\n.dot", "<p>html</p>", "https://bank.example/u/token")
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PASSWORD = "a password of this test"
NOON = datetime(2025, 11, 5, 18, 0, tzinfo=UTC)
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def parsed(mail: Mail) -> MimeMessage:
    """The message as a reader's program reads it."""
    read = message_from_bytes(mail.content, policy=policy.default)
    assert isinstance(read, MimeMessage)
    return read


def body(mail: Mail, kind: str) -> str:
    """The text of a part."""
    part = parsed(mail).get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


# -- the message -------------------------------------------------------------------------------------------------


def test_a_mail_has_text_before_html_one_recipient_and_the_headers_of_one_click(attempt: Attempt) -> None:
    mail = mail_of(MAIL, attempt, SENDER)
    read = parsed(mail)
    assert [part.get_content_type() for part in read.iter_parts()] == ["text/plain", "text/html"]
    assert (body(mail, "plain"), body(mail, "html")) == ("text\n.dot\n", "<p>html</p>\n")
    assert (read["From"], read["To"]) == ("First Bank <alerts@bank.example>", "ann@example.com")
    assert read["List-Unsubscribe"] == "<https://bank.example/u/token>"
    assert read["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert read["Message-ID"] == f"<{attempt.delivery_id}.1@bank.example>"
    assert read["Date"].datetime == attempt.started_at
    assert (mail.sender, mail.recipient) == ("alerts@bank.example", "ann@example.com")


def test_each_attempt_has_a_message_id_of_its_own(attempt: Attempt) -> None:
    ids = {parsed(mail_of(MAIL, replace(attempt, number=number), SENDER))["Message-ID"] for number in (1, 2, 3)}
    assert len(ids) == 3


@pytest.mark.parametrize(
    "text", ["Grüße aus Köln", "残高が少なくなっています " * 30, "x" * 5000, "a\rb\r\nc\nd", "\n.\n."]
)
def test_any_text_comes_out_as_it_went_in_and_leaves_in_seven_bits_and_short_lines(attempt: Attempt, text: str) -> None:
    message = replace(MAIL, subject=text[:60].replace("\r", " ").replace("\n", " "), text=text, html=f"<p>{text}</p>")
    mail = mail_of(message, attempt, SENDER)
    assert mail.content.isascii()
    assert max(map(len, mail.content.split(b"\r\n"))) <= 998
    assert b"\n" not in mail.content.replace(b"\r\n", b"")
    assert b"\r" not in mail.content.replace(b"\r\n", b"")
    assert body(mail, "plain").splitlines() == text.splitlines()
    assert parsed(mail)["Subject"].split() == message.subject.split()


def test_a_long_link_that_stops_mail_stays_one_link(attempt: Attempt) -> None:
    url = "https://bank.example/u/" + "t" * 600
    mail = mail_of(replace(MAIL, unsubscribe_url=url), attempt, SENDER)
    assert f"List-Unsubscribe: <{url}>\r\n".encode() in mail.content


@pytest.mark.parametrize(
    "evil", ["\r\nBcc: all@evil.example", "\nBcc: all@evil.example", "\x00\x0bBcc: x", "\u2028Bcc: x"]
)
def test_nothing_breaks_out_of_a_header(attempt: Attempt, evil: str) -> None:
    message = replace(MAIL, subject=f"Hi{evil}", unsubscribe_url=f"https://a.example/{evil}")
    read = parsed(mail_of(message, attempt, Sender(SENDER.email, f"Bank{evil}")))
    assert read["Bcc"] is None
    assert set(read.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post", "Auto-Submitted",
        "MIME-Version", "Content-Type",
    }  # fmt: skip


@pytest.mark.parametrize(
    "to",
    ["", "ann", "ann@", "a@b.example\r\nRCPT TO:<x@y.example>", "a@b.example> NOTIFY=NEVER", "a@b.example,c@d.example"],
)
async def test_an_address_that_is_none_is_final_and_nobody_is_called(attempt: Attempt, to: str) -> None:
    async with relaying() as relay:
        outcome = await relay.smtp.send(replace(MAIL, to=to), attempt)
    assert (outcome.kind, relay.simulator.connections) == (K.PERMANENT, 0)


# -- servers -----------------------------------------------------------------------------------------------------


@dataclass
class Relay:
    """The provider, and the server it talks to."""

    smtp: Smtp
    simulator: SmtpSimulator
    spans: InMemorySpanExporter

    def order(self, behaviour: CallBehaviour, stage: Stage, **words: object) -> None:
        """Have the server misbehave."""
        self.simulator.faults.order(CallFault(Receiver.SMTP, behaviour, stage=stage, **words))  # type: ignore[arg-type]


@asynccontextmanager
async def calling(
    server: Server, limit: float, trust: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Smtp, InMemorySpanExporter]]:
    """The provider, calling a server."""
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    tls = trust or ssl.create_default_context()
    async with smtp_connections(server, timedelta(seconds=limit), tls) as connections:
        yield Smtp(server, SENDER, connections, provider.get_tracer("test")), spans


@asynccontextmanager
async def relaying(
    limit: float = 5,
    security: str = "none",
    password: str = PASSWORD,
    serves_tls: ssl.SSLContext | None = None,
    trust: ssl.SSLContext | None = None,
    connections: int = 10,
    host: str = "127.0.0.1",
) -> AsyncIterator[Relay]:
    """A relay that wants a log-in, and the provider that calls it."""
    simulator = SmtpSimulator(
        clock=SteppedClock(NOON), activity=Activity(), username="tocsin", password=PASSWORD, tls=serves_tls
    )
    async with taking_mail(simulator) as port:
        server = Server(host, port, security, "tocsin", password, "bank.example", connections)
        async with calling(server, limit, trust) as (smtp, spans):
            yield Relay(smtp, simulator, spans)


async def say_nothing(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Hang up."""


@asynccontextmanager
async def listening(talk: Talk) -> AsyncIterator[Server]:
    """A server of the test's own."""

    async def talked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await talk(reader, writer)
        writer.close()

    listener = await asyncio.start_server(talked, "127.0.0.1", 0)
    async with listener:
        yield Server("127.0.0.1", listener.sockets[0].getsockname()[1], "none")


async def test_a_mail_is_handed_over_and_named_by_its_message_id(attempt: Attempt) -> None:
    async with relaying() as relay:
        outcome = await relay.smtp.send(MAIL, replace(attempt, traceparent=TRACE))
    named = f"{attempt.delivery_id}.1@bank.example"
    assert outcome == Outcome(K.ACCEPTED, provider_id=named, status=250, code="2.0.0")
    [taken] = relay.simulator.account.accepted
    assert (taken.recipient, taken.provider_id, taken.attempt) == ("ann@example.com", named, 1)
    assert relay.simulator.raw == [mail_of(MAIL, attempt, SENDER).content]
    [span] = relay.spans.get_finished_spans()
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}" == TRACE.split("-")[1]
    assert "ann@" not in str(span.attributes)


async def take_mail_and_leave_no_goodbye_answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that takes every message, and does not answer QUIT."""
    writer.write(b"220 ready\r\n")
    while (line := await reader.readuntil(b"\r\n")) != b"QUIT\r\n":
        if line == b"DATA\r\n":
            writer.write(b"354 go on\r\n")
            await reader.readuntil(b"\r\n.\r\n")
        writer.write(b"250 ok\r\n")
    await reader.read()


async def test_a_mail_that_was_taken_is_not_doubted_because_the_goodbye_took_too_long(attempt: Attempt) -> None:
    """The last message of a connection: it would leave a second time."""
    async with listening(take_mail_and_leave_no_goodbye_answered) as server, calling(server, 0.5) as (smtp, _):
        outcomes = [(await smtp.send(MAIL, attempt)).kind for _ in range(100)]
    assert outcomes == [K.ACCEPTED] * 100


async def greet_nobody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_where_all_connections_are_in_use_a_message_waits_in_the_queue_and_nobody_is_blamed(
    attempt: Attempt,
) -> None:
    async with listening(greet_nobody) as server, calling(replace(server, connections=1), 0.4) as (smtp, _):
        outcomes = await asyncio.gather(*(smtp.send(MAIL, attempt) for _ in range(3)))
    crowded = Outcome(K.THROTTLED, answer="all our connections are in use", wait=timedelta(seconds=5), ours=True)
    assert sorted(outcome.kind for outcome in outcomes) == [K.THROTTLED, K.THROTTLED, K.TRANSIENT]
    assert [outcome for outcome in outcomes if outcome.kind is K.THROTTLED] == [crowded, crowded]


async def test_an_address_that_is_not_ascii_goes_to_a_server_that_takes_it(attempt: Attempt) -> None:
    async with relaying() as relay:
        outcome = await relay.smtp.send(replace(MAIL, to="jürgen@straße.example"), attempt)
    assert (outcome.kind, [one.recipient for one in relay.simulator.account.accepted]) == (
        K.ACCEPTED,
        ["jürgen@straße.example"],
    )


async def test_a_domain_that_is_not_ascii_goes_to_any_server(attempt: Attempt) -> None:
    async with relaying() as relay:
        await relay.smtp.send(replace(MAIL, to="ann@straße.example"), attempt)
    assert [one.recipient for one in relay.simulator.account.accepted] == ["ann@xn--strae-oqa.example"]


async def test_the_next_message_takes_the_kept_connection(attempt: Attempt) -> None:
    async with relaying() as relay:
        kinds = [(await relay.smtp.send(MAIL, replace(attempt, number=number))).kind for number in range(1, 6)]
    assert (kinds, relay.simulator.connections) == ([K.ACCEPTED] * 5, 1)


async def test_a_kept_connection_is_left_after_a_hundred_messages(attempt: Attempt) -> None:
    async with relaying() as relay:
        for number in range(1, 102):
            await relay.smtp.send(MAIL, replace(attempt, number=number))
    assert (len(relay.simulator.account.accepted), relay.simulator.connections) == (101, 2)


async def test_after_a_refusal_the_connection_serves_the_next_message(attempt: Attempt) -> None:
    async with relaying() as relay:
        for stage in (S.MAIL, S.RCPT, S.DATA, S.END):
            relay.order(B.STATUS, stage, status=451, times=1)
            assert (await relay.smtp.send(MAIL, attempt)).kind is K.TRANSIENT
            relay.simulator.faults.forget_calls()
        assert (await relay.smtp.send(MAIL, attempt)).kind is K.ACCEPTED
    assert (len(relay.simulator.account.accepted), relay.simulator.connections) == (1, 1)


async def test_a_kept_connection_that_the_server_has_left_costs_nothing(attempt: Attempt) -> None:
    talks: list[asyncio.StreamWriter] = []
    simulator = SmtpSimulator(clock=SteppedClock(NOON), activity=Activity())

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(writer)
        await simulator.talk(reader, writer)

    async with listening(talk) as server, calling(server, 5) as (smtp, _):
        assert (await smtp.send(MAIL, attempt)).kind is K.ACCEPTED
        talks[0].transport.abort()
        assert (await smtp.send(MAIL, replace(attempt, number=2))).kind is K.ACCEPTED
    assert (len(talks), len(simulator.account.accepted)) == (2, 2)


async def test_there_are_never_more_connections_than_may_be(attempt: Attempt) -> None:
    async with relaying(connections=3) as relay:
        relay.simulator.latency = timedelta(milliseconds=1)
        outcomes = await asyncio.gather(*(relay.smtp.send(MAIL, replace(attempt, number=n)) for n in range(1, 31)))
    assert {outcome.kind for outcome in outcomes} == {K.ACCEPTED}
    assert relay.simulator.connections == 3


async def test_who_gets_no_connection_in_time_costs_no_retry(attempt: Attempt) -> None:
    async with relaying(limit=0.4, connections=1) as relay:
        relay.order(B.HANG_BEFORE, S.GREETING)
        outcomes = await asyncio.gather(*(relay.smtp.send(MAIL, replace(attempt, number=n)) for n in (1, 2)))
    assert [outcome.kind for outcome in outcomes] == [K.TRANSIENT, K.THROTTLED]


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize(("status", "kind"), [(421, K.TRANSIENT), (451, K.TRANSIENT), (550, None)])
async def test_a_refusal_at_each_stage(attempt: Attempt, stage: Stage, status: int, kind: OutcomeKind | None) -> None:
    about_us = stage in (S.GREETING, S.HELLO, S.AUTH, S.MAIL)
    async with relaying() as relay:
        relay.order(B.STATUS, stage, status=status, message="ordered")
        outcome = await relay.smtp.send(MAIL, attempt)
    assert outcome.kind is (kind or (K.ACCOUNT if about_us else K.PERMANENT))
    assert (outcome.status, relay.simulator.account.accepted) == (status, [])


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("behaviour", [B.HANG_BEFORE, B.RESET_BEFORE, B.GARBAGE])
async def test_silence_a_reset_and_garbage_at_each_stage(
    attempt: Attempt, stage: Stage, behaviour: CallBehaviour
) -> None:
    async with relaying(limit=0.4) as relay:
        relay.order(behaviour, stage)
        outcome = await relay.smtp.send(MAIL, attempt)
    assert outcome.kind is (K.UNKNOWN if stage is S.END else K.TRANSIENT)


@pytest.mark.parametrize("behaviour", [B.HANG_AFTER, B.RESET_AFTER, B.GARBAGE])
async def test_a_message_that_was_taken_without_an_answer_is_of_unknown_fate(
    attempt: Attempt, behaviour: CallBehaviour
) -> None:
    async with relaying(limit=0.4) as relay:
        relay.order(behaviour, S.END, times=1)
        outcome = await relay.smtp.send(MAIL, attempt)
    assert (outcome.kind, len(relay.simulator.account.accepted)) == (K.UNKNOWN, 1)


async def test_a_server_that_drips_is_cut_off_by_our_limit(attempt: Attempt) -> None:
    async with relaying(limit=0.5) as relay:
        relay.order(B.DRIP, S.GREETING, delay=timedelta(milliseconds=200))
        async with asyncio.timeout(3):
            outcome = await relay.smtp.send(MAIL, attempt)
    assert outcome.kind is K.TRANSIENT


async def test_a_refused_connection_is_tried_again(attempt: Attempt) -> None:
    async with listening(say_nothing) as server:
        pass
    async with calling(server, 5) as (smtp, _):
        assert (await smtp.send(MAIL, attempt)).kind is K.TRANSIENT


async def test_an_endless_reply_is_not_read_to_its_end(attempt: Attempt) -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _line in range(100_000):
            writer.write(b"220-" + b"x" * 500 + b"\r\n")
            await writer.drain()

    async with listening(talk) as server, calling(server, 5) as (smtp, _):
        assert (await smtp.send(MAIL, attempt)).kind is K.TRANSIENT


async def test_wrong_credentials_are_the_account_s_fault_and_are_not_told(attempt: Attempt) -> None:
    async with relaying(password="an old one") as relay:
        outcome = await relay.smtp.send(MAIL, attempt)
    assert (outcome.kind, outcome.status, outcome.code) == (K.ACCOUNT, 535, "5.7.8")
    assert "an old one" not in repr(outcome)


# -- TLS ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of `localhost` that signs itself, with its key."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]),
    )
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + signed.public_bytes(encoding))
    return path


def served(certificate: Path) -> ssl.SSLContext:
    """What the server shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_mail_and_log_in_go_by_starttls_to_a_server_that_is_trusted(certificate: Path, attempt: Attempt) -> None:
    trust = ssl.create_default_context(cafile=str(certificate))
    async with relaying(security="starttls", serves_tls=served(certificate), trust=trust, host="localhost") as relay:
        kinds = [(await relay.smtp.send(MAIL, attempt)).kind for _ in range(2)]
    assert (kinds, len(relay.simulator.account.accepted), relay.simulator.connections) == ([K.ACCEPTED] * 2, 2, 1)


async def test_a_server_that_nobody_vouches_for_gets_neither_mail_nor_log_in(
    certificate: Path, attempt: Attempt
) -> None:
    async with relaying(security="starttls", serves_tls=served(certificate), host="localhost") as relay:
        outcome = await relay.smtp.send(MAIL, attempt)
    assert (outcome.kind, outcome.answer) == (K.TRANSIENT, "SSLCertVerificationError")
    assert relay.simulator.account.accepted == []


async def test_a_server_without_starttls_gets_nothing_in_the_clear(attempt: Attempt) -> None:
    async with relaying(security="starttls") as relay:
        outcome = await relay.smtp.send(MAIL, attempt)
    assert outcome.kind is K.ACCOUNT
    assert (relay.simulator.account.accepted, relay.simulator.account.refused) == ([], [])


async def test_a_server_that_speaks_no_tls_is_tried_again(attempt: Attempt) -> None:
    async with relaying(security="tls", limit=2) as relay:
        assert (await relay.smtp.send(MAIL, attempt)).kind is K.TRANSIENT
    assert relay.simulator.account.accepted == []
