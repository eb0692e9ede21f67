"""The connection to NATS. Services start and stay up without it: their work waits in outboxes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import nats
import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext

from tocsin_kit.messaging.streams import LARGEST_MESSAGE, compare

_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(milliseconds=200), timedelta(seconds=5)
_log = structlog.get_logger(__name__)


class BrokerAway(ConnectionError):
    """NATS cannot be reached at present."""


class TopologyRefused(RuntimeError):
    """Streams or durables at the broker are not those this code was written for: run `tocsin migrate`."""


class Broker:
    """Connects in the background, for ever, and hands out the connection once it stands."""

    name = "broker"

    def __init__(self, servers: str, service: str) -> None:
        self._servers = [server.strip() for server in servers.split(",") if server.strip()]
        self._service = service
        self._client: Client | None = None
        self._connected = asyncio.Event()
        self._failure = ""
        self._is_closing = False
        self._followers: list[Callable[[], None]] = []

    def when_back(self, follower: Callable[[], None]) -> None:
        """Have `follower` called when a lost connection stands again: core messages between are gone."""
        self._followers.append(follower)

    async def run(self, stopping: asyncio.Event) -> None:
        """Connect, check the topology, hold the connection until `stopping`.

        A broker that is away, or whose JetStream has no leader yet, is asked again. Raises TopologyRefused when what
        is declared differs where it matters.
        """
        stopped = asyncio.create_task(stopping.wait())
        pause = _FIRST_PAUSE
        try:
            while self._client is None and not stopped.done():
                opening = asyncio.create_task(self._open())
                await asyncio.wait([opening, stopped], return_when=asyncio.FIRST_COMPLETED)
                if not opening.done():  # nats-py tries for ever by itself
                    opening.cancel()
                    await asyncio.wait([opening])
                    break
                try:
                    self._client = opening.result()
                except (OSError, TimeoutError, nats.errors.Error) as error:
                    self._note(f"{type(error).__name__}: {error}")
                    await asyncio.wait([stopped], timeout=pause.total_seconds())
                    pause = min(pause * 2, _LONGEST_PAUSE)
                    continue
                self._connected.set()
            await stopped
        finally:
            stopped.cancel()

    async def close(self) -> None:
        """Flush what is buffered and disconnect, within five seconds."""
        self._is_closing = True
        if self._client is not None:
            with suppress(nats.errors.Error, TimeoutError, OSError):
                await asyncio.wait_for(self._client.flush(), 2)
            await asyncio.wait_for(self._client.close(), 3)

    async def connection(self, limit: timedelta = timedelta(seconds=5)) -> Client:
        """The live connection; BrokerAway when there is none within `limit`."""
        try:
            await asyncio.wait_for(self._connected.wait(), limit.total_seconds())
        except TimeoutError:
            raise BrokerAway(self._failure or "not connected to NATS") from None
        if self._client is None or not self._client.is_connected:
            raise BrokerAway("the connection to NATS is down; it is being renewed")
        return self._client

    async def jetstream(self) -> JetStreamContext:
        """JetStream on the live connection; BrokerAway when there is none."""
        return (await self.connection()).jetstream(timeout=5)

    async def publish_core(self, subject: str, payload: bytes) -> None:
        """Tell whoever listens right now; nobody hears it later."""
        await (await self.connection()).publish(subject, payload)

    async def subscribe_core(self, subject: str, hear: Callable[[bytes], Awaitable[None]]) -> Subscription:
        """Hear what is told on `subject` from now on; `unsubscribe` the answer to stop."""

        async def heard(message: Msg) -> None:
            await hear(message.data)

        return await (await self.connection()).subscribe(subject, cb=heard)

    async def _open(self) -> Client:
        """A connection to a broker that is as this code needs it; none is left open by a failure."""
        client = await self._connect()
        try:
            await self._check_topology(client)
        except BaseException:
            await client.close()
            raise
        return client

    async def _connect(self) -> Client:
        return await nats.connect(
            self._servers,
            name=f"tocsin-{self._service}",
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.5,
            connect_timeout=3,
            ping_interval=20,
            max_outstanding_pings=3,
            error_cb=self._heard_error,
            disconnected_cb=self._went_away,
            reconnected_cb=self._came_back,
        )

    async def _check_topology(self, client: Client) -> None:
        if client.max_payload < LARGEST_MESSAGE:
            wanted = f"max_payload of at least {LARGEST_MESSAGE} bytes, found {client.max_payload}"
            raise TopologyRefused(f"the server: want {wanted}; set it in the server's configuration")
        for difference in await compare(client.jetstream(timeout=5)):
            text = f"{difference.what}: want {difference.wanted}, found {difference.found}"
            if difference.refuses:
                raise TopologyRefused(f"{text}; run `tocsin migrate`")
            _log.warning("topology_differs", difference=text)

    async def _heard_error(self, error: Exception) -> None:
        self._note(f"{type(error).__name__}: {error}")

    async def _went_away(self) -> None:
        if not self._is_closing:
            _log.warning("broker_away")

    async def _came_back(self) -> None:
        self._failure = ""
        _log.info("broker_back")
        for follower in self._followers:
            follower()

    def _note(self, failure: str) -> None:
        if failure != self._failure:
            _log.warning("broker_error", error=failure)
        self._failure = failure
