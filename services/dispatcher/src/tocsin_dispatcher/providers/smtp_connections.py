"""Connections to an SMTP server: kept for the next message, never more than we may have, and one message handed over.

Under aiosmtplib's high-level calls a refusal of DATA and one of the message look alike, and so do a connection that
broke before the message was written and one that broke after: the commands of a message are sent one by one here.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

import aiosmtplib
from aiosmtplib import SMTPException, SMTPResponseException

from tocsin_dispatcher.providers.smtp_mail import Mail
from tocsin_dispatcher.providers.smtp_outcomes import Crowded, Exchange, Reply, Silence, Step, Unusable

_MESSAGES_EACH = 100
"""On one connection: servers end those that go on for long, some of them in the middle of a message."""
_LEADING_DOT = re.compile(rb"(?m)^\.")
_QUIT_WITHIN = 1.0
_OK, _GO_ON = 250, 354
_TAKEN = frozenset({250, 251})


@dataclass(frozen=True)
class Server:
    """Which server, how it is reached, and whom it knows us as."""

    host: str
    port: int
    security: str
    """`none`, `starttls` or `tls`."""
    username: str = ""
    password: str = field(default="", repr=False)
    hello: str = "localhost"
    """Our name in EHLO."""
    connections: int = 10
    """At most, of this process."""


@dataclass
class Progress:
    """How far a message has come, for those that end its call in the middle."""

    step: Step = Step.CONNECT


@dataclass
class _Kept:
    client: aiosmtplib.SMTP
    messages: int = 0


class Connections:
    """The connections of this process to one server. Make it by `smtp_connections`."""

    def __init__(self, server: Server, limit: timedelta, tls: ssl.SSLContext) -> None:
        """`limit` is for a message from first to last; at most half of it is spent on waiting for a connection."""
        self._server, self._limit, self._tls = server, limit.total_seconds(), tls
        self._places = asyncio.Semaphore(server.connections)
        self._idle: list[_Kept] = []
        self._worn_out: list[aiosmtplib.SMTP] = []

    async def hand_over(self, mail: Mail) -> Exchange:
        """Hand one message over. Never raises for what a server or a network does."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with asyncio.timeout(self._limit / 2):
                await self._places.acquire()
        except TimeoutError:
            return Crowded()
        left = begun + self._limit - loop.time()
        try:
            # Of an earlier message: one that was taken waits for no goodbye, which a stop could cut off, and the next
            # one has its time all the same.
            if self._worn_out:
                await _quit(self._worn_out.pop())
            return await self._within(loop.time() + left, mail)
        finally:
            self._places.release()

    async def close(self) -> None:
        """Take leave of the server."""
        clients = [*self._worn_out, *(kept.client for kept in self._idle)]
        self._idle, self._worn_out = [], []
        await asyncio.gather(*map(_quit, clients))

    async def _within(self, deadline: float, mail: Mail) -> Exchange:
        progress = Progress()
        try:
            async with asyncio.timeout_at(deadline), self._connection() as client:
                return await _handed_over(client, mail, progress)
        except SMTPResponseException as error:
            # While connecting: refused by the server, or its reply is none.
            return Reply(progress.step, error.code, error.message)
        except (OSError, SMTPException) as error:
            # aiosmtplib's own time-outs and broken connections are of OSError; what is not says that TLS or a log-in
            # is not offered. asyncio's TimeoutError is one of OSError too.
            if isinstance(error, OSError):
                return Silence(progress.step, _named(error))
            return Unusable(str(error))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[aiosmtplib.SMTP]:
        """A connection for one message; kept afterwards unless something was wrong with it."""
        kept = await self._alive() or _Kept(await self._connected())
        try:
            yield kept.client
        except BaseException:
            kept.client.close()
            raise
        kept.messages += 1
        if kept.messages < _MESSAGES_EACH and kept.client.is_connected:
            self._idle.append(kept)
        else:
            self._worn_out.append(kept.client)

    async def _alive(self) -> _Kept | None:
        """A kept connection that still answers, cleared of the message before. Where one does not, none is trusted."""
        while self._idle:
            kept = self._idle.pop()
            with suppress(SMTPException, OSError):
                if (await kept.client.execute_command(b"RSET", timeout=self._limit / 4)).code == _OK:
                    return kept
            kept.client.close()
            for other in self._idle:
                other.client.close()
            self._idle.clear()
        return None

    async def _connected(self) -> aiosmtplib.SMTP:
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username or None,
            password=server.password or None,
            local_hostname=server.hello,
            timeout=None,
            use_tls=server.security == "tls",
            start_tls=server.security == "starttls",
            tls_context=None if server.security == "none" else self._tls,
        )
        await client.connect()
        try:
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()
        except BaseException:
            client.close()
            raise
        return client


async def _handed_over(client: aiosmtplib.SMTP, mail: Mail, progress: Progress) -> Exchange:
    """The commands of one message, up to the first that is refused."""
    encoding = "utf-8" if mail.needs_utf8 else "ascii"
    options = [b"SMTPUTF8"] if mail.needs_utf8 else []
    progress.step = Step.MAIL
    if mail.needs_utf8 and not client.supports_extension("smtputf8"):
        return Reply(Step.MAIL, 553, "5.6.7 the server takes no address that is not ASCII")
    reply = await client.execute_command(b"MAIL", f"FROM:<{mail.sender}>".encode(), *options)
    if reply.code != _OK:
        return Reply(progress.step, reply.code, reply.message)
    progress.step = Step.RCPT
    reply = await client.execute_command(b"RCPT", f"TO:<{mail.recipient}>".encode(encoding))
    if reply.code not in _TAKEN:
        return Reply(progress.step, reply.code, reply.message)
    progress.step = Step.DATA
    reply = await client.execute_command(b"DATA")
    if reply.code != _GO_ON or client.protocol is None:
        return Reply(progress.step, reply.code, reply.message)
    client.protocol.write(_LEADING_DOT.sub(b"..", mail.content) + b".\r\n")
    progress.step = Step.END
    reply = await client.protocol.read_response()
    return Reply(progress.step, reply.code, reply.message)


async def _quit(client: aiosmtplib.SMTP) -> None:
    try:
        with suppress(SMTPException, OSError):
            await client.quit(timeout=_QUIT_WITHIN)
    finally:
        client.close()


def _named(error: OSError) -> str:
    """What kind of error: an SSLCertVerificationError says more than the error around it."""
    return type(error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error).__name__


@asynccontextmanager
async def smtp_connections(server: Server, limit: timedelta, tls: ssl.SSLContext) -> AsyncIterator[Connections]:
    """Connections to a server, closed at the end; `tls` says whom to trust."""
    connections = Connections(server, limit, tls)
    try:
        yield connections
    finally:
        await connections.close()
