"""An SMTP server to run against, as strict as a relay: log-in, TLS, envelope, and a message that must be well made.

    faults.order(CallFault(Receiver.SMTP, CallBehaviour.STATUS, status=450, stage=Stage.RCPT))
    faults.order(CallFault(Receiver.SMTP, CallBehaviour.RESET_AFTER))      takes the message, breaks the connection

Its account and orders are on a port of HTTP's own, as the other simulators have them. Ours and not aiosmtpd: faults
need the connection itself, at every command. Sources: RFC 5321, RFC 4954 (AUTH PLAIN), RFC 3207 (STARTTLS), RFC 6531.
"""

import asyncio
import base64
import binascii
import email
import email.policy
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import MIMEPart

from tocsin_devstack.callbacks import CallbackAnswer
from tocsin_devstack.faults import CallBehaviour, CallFault, Faults, Receiver, Stage
from tocsin_devstack.server import Accepted, Account, Refused, add_control, new_app, pass_real_time
from tocsin_kit.activity import Activity
from tocsin_kit.clock import Clock
from tocsin_kit.loops import Loop

_LINGER_ZERO = struct.pack("ii", 1, 0)  # SO_LINGER on with 0 s: closing sends RST instead of FIN
_LARGEST_MESSAGE = 10 * 1024 * 1024
_LONGEST_LINE = 1000  # with CRLF; RFC 5321 4.5.3.1.6
_GARBAGE = b"\x00<html>truncat\r\n"
_PATH = re.compile(r"(?:FROM|TO):<([^<>\s]*)>((?: \S+)*)", re.IGNORECASE)
_OURS = re.compile(r"<([0-9a-f-]{36})\.(\d+)@[^<>@]+>")


@dataclass
class _Envelope:
    sender: str = ""
    recipients: list[str] = field(default_factory=list)


class _Refusal(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class _Gone(Exception):
    """The connection is over."""


class SmtpSimulator:
    """See the module. `account` holds what it accepted, `raw` the messages' bytes, `connections` how many came."""

    name = Receiver.SMTP

    def __init__(
        self,
        *,
        clock: Clock,
        activity: Activity,
        faults: Faults | None = None,
        username: str = "",
        password: str = "",
        tls: ssl.SSLContext | None = None,
        latency: timedelta = timedelta(),
    ) -> None:
        """With a `username` mail is taken after log-in only, with `tls` after STARTTLS only; `latency` is real time."""
        self.clock, self.latency = clock, latency
        self.faults = faults if faults is not None else Faults()
        self.credentials = (username, password)
        self.tls = tls
        self.account = Account()
        self.raw: list[bytes] = []
        self.connections = 0
        self.port = 0
        self.loop = Loop("simulator.smtp", _nothing_to_do, clock=clock, activity=activity)
        self.app = new_app([])
        add_control(self)

    @property
    def answers(self) -> Sequence[CallbackAnswer]:
        """It calls nobody back."""
        return ()

    async def close(self) -> None:
        """It has no client."""

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until it ends."""
        self.connections += 1
        try:
            await _Talk(self, reader, writer).run()
        except (_Gone, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ssl.SSLError):
            pass
        finally:
            writer.close()  # not awaited: after a TLS handshake that failed it is never closed

    def take(self, recipient: str, content: bytes) -> None:
        """Accept a message."""
        parsed = email.message_from_bytes(content, policy=email.policy.default)
        ours = _OURS.fullmatch(str(parsed["Message-ID"]))
        text, html = parsed.get_body(("plain",)), parsed.get_body(("html",))
        self.raw.append(content)
        self.account.took(
            Accepted(
                provider=self.name,
                provider_id=str(parsed["Message-ID"]).strip("<>"),
                recipient=recipient,
                delivery_id=ours.group(1) if ours else None,
                attempt=int(ours.group(2)) if ours else None,
                subject=str(parsed["Subject"]),
                text=_content(text),
                html=None if html is None else _content(html),
                headers={key: str(value) for key, value in parsed.items()},
                at=self.clock.now(),
            )
        )


class _Talk:
    """One connection's state."""

    def __init__(self, server: SmtpSimulator, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server, self._reader, self._writer = server, reader, writer
        self._envelope: _Envelope | None = None
        self._logged_in, self._hidden = not server.credentials[0], server.tls is None

    async def run(self) -> None:
        await self._answer(Stage.GREETING, 220, "simulator ESMTP")
        while True:
            verb, _, words = (await self._line()).decode("utf-8", "replace").partition(" ")
            if verb.upper() == "QUIT":
                await self._say(221, "2.0.0 bye")
                return
            try:
                await self._command(verb.upper(), words)
            except _Refusal as refusal:
                refused = Refused(self._server.name, refusal.code, (refusal.text,))
                self._server.account.refused.append(refused)
                await self._say(refusal.code, refusal.text)

    async def _command(self, verb: str, words: str) -> None:
        match verb:
            case "EHLO" | "HELO":
                await self._answer(Stage.HELLO, 250, *self._offers())
            case "STARTTLS" if self._server.tls is not None and not self._hidden:
                await self._say(220, "2.0.0 go ahead")
                await self._writer.start_tls(self._server.tls)
                self._hidden = True
            case "AUTH":
                await self._log_in(words)
            case "MAIL":
                await self._mail(words)
            case "RCPT":
                await self._rcpt(words)
            case "DATA":
                await self._data()
            case "RSET" | "NOOP":
                self._envelope = None if verb == "RSET" else self._envelope
                await self._say(250, "2.0.0 ok")
            case _:
                raise _Refusal(500, "5.5.2 command not known")

    def _offers(self) -> Sequence[str]:
        hide = ["STARTTLS"] if not self._hidden else []
        log_in = ["AUTH PLAIN"] if self._hidden and self._server.credentials[0] else []
        return ["simulator", "ENHANCEDSTATUSCODES", "8BITMIME", *hide, *log_in, "SMTPUTF8"]

    async def _log_in(self, words: str) -> None:
        method, _, initial = words.partition(" ")
        if method != "PLAIN":
            raise _Refusal(504, "5.5.4 mechanism not known")
        try:
            told = base64.b64decode(initial or await self._asked_for(), validate=True).decode().split("\0")
        except (binascii.Error, UnicodeDecodeError):
            raise _Refusal(501, "5.5.2 no base64") from None
        if tuple(told[1:]) != self._server.credentials:
            raise _Refusal(535, "5.7.8 credentials refused")
        self._logged_in = True
        await self._answer(Stage.AUTH, 235, "2.7.0 welcome")

    async def _asked_for(self) -> bytes:
        await self._say(334, "")
        return await self._line()

    async def _mail(self, words: str) -> None:
        if not self._hidden:
            raise _Refusal(530, "5.7.0 STARTTLS first")
        if not self._logged_in:
            raise _Refusal(530, "5.7.0 log in first")
        if self._envelope is not None:
            raise _Refusal(503, "5.5.1 one message at a time")
        self._envelope = _Envelope(_path(words))
        if not await self._answer(Stage.MAIL, 250, "2.1.0 ok"):
            self._envelope = None

    async def _rcpt(self, words: str) -> None:
        if self._envelope is None:
            raise _Refusal(503, "5.5.1 MAIL first")
        recipient = _path(words)
        if await self._answer(Stage.RCPT, 250, "2.1.5 ok", recipient=recipient):
            self._envelope.recipients.append(recipient)

    async def _data(self) -> None:
        if self._envelope is None or not self._envelope.recipients:
            raise _Refusal(503, "5.5.1 RCPT first")
        [recipient, *others] = self._envelope.recipients
        if not await self._answer(Stage.DATA, 354, "go on", recipient=recipient):
            return
        content = await self._message()
        self._envelope = None
        parsed = email.message_from_bytes(content, policy=email.policy.default)
        if others or any(parsed[name] is None for name in ("From", "To", "Date", "Message-ID")):
            raise _Refusal(554, "5.6.0 not well made, or to several")
        await self._answer(Stage.END, 250, "2.0.0 queued", recipient=recipient, content=content)

    async def _message(self) -> bytes:
        content = bytearray()
        while (line := await self._reader.readuntil(b"\r\n")) != b".\r\n":
            if len(line) > _LONGEST_LINE or len(content) > _LARGEST_MESSAGE:
                raise _Refusal(552, "5.3.4 too large")
            content += line.removeprefix(b".")
        return bytes(content)

    async def _line(self) -> bytes:
        return (await self._reader.readuntil(b"\r\n")).removesuffix(b"\r\n")

    async def _answer(
        self, stage: Stage, code: int, *lines: str, recipient: str = "", content: bytes | None = None
    ) -> bool:
        """Say it, or do as the order for this stage says; whether it went well. `content` is a message to accept."""
        fault = self._server.faults.of_call(self._server.name, recipient, stage)
        behaviour = fault.behaviour if fault is not None else None
        if recipient and (stage is Stage.END or behaviour not in (None, CallBehaviour.DELAY)):
            self._server.account.was_called(recipient, self._server.clock.now())  # it comes no further than here
        if behaviour is CallBehaviour.STATUS and fault is not None:
            await self._say(fault.status, fault.message or "ordered")
            return False
        if behaviour in (CallBehaviour.HANG_BEFORE, CallBehaviour.RESET_BEFORE):
            await self._break_off(behaviour)
        await pass_real_time(fault.delay if behaviour is CallBehaviour.DELAY and fault else self._server.latency)
        if content is not None:
            self._server.take(recipient, content)
        if behaviour in (CallBehaviour.HANG_AFTER, CallBehaviour.RESET_AFTER):
            await self._break_off(behaviour)
        if behaviour in (CallBehaviour.GARBAGE, CallBehaviour.DRIP) and fault is not None:
            await self._say_badly(fault, code, lines)
        else:
            await self._say(code, *lines)
        return True

    async def _break_off(self, behaviour: CallBehaviour | None) -> None:
        if behaviour in (CallBehaviour.HANG_BEFORE, CallBehaviour.HANG_AFTER):
            await self._reader.read()  # until the client hangs up
            raise _Gone
        connection = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self._writer.transport.abort()
        raise _Gone

    async def _say(self, code: int, *lines: str) -> None:
        self._writer.write(_reply(code, lines))
        await self._writer.drain()

    async def _say_badly(self, fault: CallFault, code: int, lines: Sequence[str]) -> None:
        reply = _GARBAGE if fault.behaviour is CallBehaviour.GARBAGE else _reply(code, lines)
        for byte in reply:
            await pass_real_time(fault.delay)
            self._writer.write(bytes((byte,)))
            await self._writer.drain()


def _reply(code: int, lines: Sequence[str]) -> bytes:
    *before, last = lines
    return "".join([*(f"{code}-{line}\r\n" for line in before), f"{code} {last}\r\n"]).encode()


def _path(words: str) -> str:
    found = _PATH.fullmatch(words)
    if found is None:
        raise _Refusal(501, "5.5.4 no path")
    return found.group(1)


def _content(part: MIMEPart | None) -> str:
    return "" if part is None else str(part.get_content()).replace("\r\n", "\n")


async def _nothing_to_do() -> datetime | None:
    return None


@asynccontextmanager
async def taking_mail(simulator: SmtpSimulator, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """Take mail while inside; yields the port."""
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            talks.add(task)
            task.add_done_callback(talks.discard)
        await simulator.talk(reader, writer)

    server = await asyncio.start_server(talk, host, port, limit=_LARGEST_MESSAGE)
    try:
        simulator.port = server.sockets[0].getsockname()[1]
        yield simulator.port
    finally:
        server.close()
        await server.wait_closed()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
