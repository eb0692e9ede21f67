"""One live socket, from hello to goodbye."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from prometheus_client import Gauge
from starlette.websockets import WebSocket, WebSocketDisconnect

from tocsin_gateway.live import protocol
from tocsin_gateway.live.feeds import Ear, Feeds
from tocsin_gateway.live.protocol import Acknowledge, Close, FreshToken, Hello
from tocsin_gateway.transcoding.codec import text
from tocsin_gateway.transcoding.values import InvalidValue, Json
from tocsin_kit.clock import Clock, Wake
from tocsin_kit.rpc.caller import Scope
from tocsin_kit.rpc.errors import Reason, TocsinError
from tocsin_kit.rpc.tokens import TokenVerifier, VerifiedToken

#: Real time: how long a client may take to say hello, and to take what is sent.
HELLO_LIMIT = timedelta(seconds=10)
TAKE_LIMIT = timedelta(seconds=10)
_OUR_FAULT = frozenset({Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED, Reason.INTERNAL, Reason.RATE_LIMITED})


@dataclass(frozen=True)
class Changes:
    """One page of what changed behind a version, ready to be sent; `version` is where to go on."""

    news: Sequence[Json]
    version: int
    more: bool
    unread: int


class Inbox(Protocol):
    """What a socket asks of the user's inbox; raises TocsinError."""

    def changes(self, token: str, since: int) -> Awaitable[Changes]:
        """What lies behind `since`, oldest first."""
        ...

    def unread(self, token: str) -> Awaitable[tuple[int, int]]:
        """(count, version) at present."""
        ...

    def acknowledge(self, token: str, ids: Sequence[str]) -> Awaitable[None]:
        """These were shown."""
        ...


class Goodbye(Exception):
    """The socket is to be closed, with `last` said before where there is something to say."""

    def __init__(self, code: Close, reason: str, last: Json = None) -> None:
        super().__init__(reason)
        self.code, self.reason, self.last = code, reason, last


class LiveInbox:
    """Serves live sockets."""

    def __init__(self, inbox: Inbox, feeds: Feeds, verifier: TokenVerifier, clock: Clock, opened: Gauge) -> None:
        self._inbox, self._feeds, self._verifier, self._clock = inbox, feeds, verifier, clock
        self._opened = opened

    async def __call__(self, websocket: WebSocket) -> None:
        """Serve one socket until either side ends it."""
        offered: list[str] = websocket.scope.get("subprotocols", [])
        await websocket.accept(protocol.SUBPROTOCOL if protocol.SUBPROTOCOL in offered else None)
        self._opened.inc()
        try:
            await self._serve(websocket, _token_among(offered))
        except WebSocketDisconnect:
            return
        except Goodbye as goodbye:
            await _say_goodbye(websocket, goodbye)
        finally:
            self._opened.dec()

    async def _serve(self, websocket: WebSocket, token: str | None) -> None:
        hello = await _hello(websocket)
        session = _Session(websocket, self._inbox, self._verifier, self._clock)
        await session.take_token(token or hello.token or "")
        partner_id, user_id = session.user
        try:
            async with self._feeds.listening(partner_id, user_id) as ear:
                await session.run(ear, hello.version)
        except ConnectionError as error:
            raise Goodbye(Close.TRY_AGAIN, "the inbox is away for the moment") from error


class _Session:
    def __init__(self, websocket: WebSocket, inbox: Inbox, verifier: TokenVerifier, clock: Clock) -> None:
        self._websocket, self._inbox, self._verifier, self._clock = websocket, inbox, verifier, clock
        self._token = ""
        self._verified: VerifiedToken | None = None
        self._renewed = Wake()

    @property
    def user(self) -> tuple[int, int]:
        """(partner, user) whose inbox this is."""
        if self._verified is None:
            raise Goodbye(Close.TOKEN, "a token is needed")
        return self._verified.caller.require_user()

    async def take_token(self, token: str) -> None:
        """Go on with this token: a user's, and the same user's as before."""
        try:
            verified = await self._verifier.verified(token)
        except TocsinError as error:
            raise Goodbye(Close.TOKEN, error.message) from error
        if Scope.USER not in verified.caller.scopes:
            raise Goodbye(Close.NOT_A_USER, "the live inbox is for users")
        if self._verified is not None and verified.caller.require_user() != self.user:
            raise Goodbye(Close.NOT_A_USER, "the token is another user's")
        self._token, self._verified = token, verified
        self._renewed.set()

    async def run(self, ear: Ear, version: int | None) -> None:
        """Push, listen and watch the token, until one of them ends."""
        tasks = [
            asyncio.create_task(self._push(ear, version)),
            asyncio.create_task(self._listen()),
            asyncio.create_task(self._watch_token()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for error in ended:
            if isinstance(error, BaseException) and not isinstance(error, asyncio.CancelledError):
                raise error

    async def _push(self, ear: Ear, version: int | None) -> None:
        """Send what lies behind the cursor, then again whenever the ear hears something."""
        cursor = await self._begin(version)
        while True:
            ear.bell.clear()
            cursor = await self._send_changes(cursor)
            await ear.bell.wait()

    async def _begin(self, version: int | None) -> int:
        """The cursor to start from; a client without one starts from now."""
        try:
            count, current = await self._inbox.unread(self._token)
        except TocsinError as error:
            raise _goodbye_after(error) from error
        if version is None:
            await self._send(protocol.unread(count, current))
            return current
        if version > current:
            # The client knows a future that this database does not: it was restored, or the version is made up.
            await self._send(protocol.resync(current))
            return current
        return version

    async def _send_changes(self, cursor: int) -> int:
        first = True
        while True:
            try:
                page = await self._inbox.changes(self._token, cursor)
            except TocsinError as error:
                raise _goodbye_after(error) from error
            for news in page.news:
                await self._send(news)
            if page.version > cursor or first:
                await self._send(protocol.unread(page.unread, max(page.version, cursor)))
            cursor, first = max(page.version, cursor), False
            if not page.more:
                return cursor

    async def _send(self, value: Json) -> None:
        try:
            async with asyncio.timeout(TAKE_LIMIT.total_seconds()):
                await self._websocket.send_text(text(value).decode())
        except TimeoutError as error:
            raise Goodbye(Close.TRY_AGAIN, "too slow: resync", protocol.resync()) from error

    async def _listen(self) -> None:
        """Hear the client until it goes."""
        while True:
            said = await _receive(self._websocket)
            match said:
                case Acknowledge(ids):
                    await self._acknowledge(ids)
                case FreshToken(token):
                    await self.take_token(token)
                case Hello():
                    raise Goodbye(Close.BAD_MESSAGE, "hello is said once")

    async def _acknowledge(self, ids: Sequence[str]) -> None:
        try:
            await self._inbox.acknowledge(self._token, ids)
        except TocsinError as error:
            await self._send(protocol.error(error.reason.value, error.message))

    async def _watch_token(self) -> None:
        """End when the token has expired and no new one came."""
        while self._verified is not None and self._verified.expires_at > self._clock.now():
            self._renewed.clear()
            expires_at: datetime = self._verified.expires_at
            await self._clock.sleep_until(expires_at, or_woken_by=self._renewed)
        raise Goodbye(Close.TOKEN, "the token has expired")


async def _hello(websocket: WebSocket) -> Hello:
    try:
        async with asyncio.timeout(HELLO_LIMIT.total_seconds()):
            said = await _receive(websocket)
    except TimeoutError as error:
        raise Goodbye(Close.BAD_MESSAGE, "no hello in time") from error
    if not isinstance(said, Hello):
        raise Goodbye(Close.BAD_MESSAGE, "hello comes first")
    return said


async def _receive(websocket: WebSocket) -> Hello | Acknowledge | FreshToken:
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    try:
        return protocol.read(message.get("text") or message.get("bytes") or b"")
    except InvalidValue as error:
        detail = f"{error.field}: {error.description}" if error.field else error.description
        raise Goodbye(Close.BAD_MESSAGE, detail) from error


def _token_among(subprotocols: Sequence[str]) -> str | None:
    prefix = protocol.TOKEN_SUBPROTOCOL
    return next((name.removeprefix(prefix) for name in subprotocols if name.startswith(prefix)), None)


def _goodbye_after(error: TocsinError) -> Goodbye:
    code = Close.TRY_AGAIN if error.reason in _OUR_FAULT else Close.TOKEN
    return Goodbye(code, error.message)


async def _say_goodbye(websocket: WebSocket, goodbye: Goodbye) -> None:
    """Close; a client that takes nothing any more is left to the server's own limit."""
    try:
        async with asyncio.timeout(1):
            if goodbye.last is not None:
                await websocket.send_text(text(goodbye.last).decode())
            await websocket.close(int(goodbye.code), goodbye.reason[:120])
    except (TimeoutError, WebSocketDisconnect, RuntimeError):
        return
