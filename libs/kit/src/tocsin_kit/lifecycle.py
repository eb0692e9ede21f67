"""Starting a service, watching its parts, and stopping it in order and in bounded time."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from random import SystemRandom
from typing import Protocol

import structlog
import uvloop
from prometheus_client import CollectorRegistry

from tocsin_kit.activity import Activity
from tocsin_kit.clock import SystemClock
from tocsin_kit.ids import SystemIds
from tocsin_kit.settings import Environment, ServiceSettings, Settings, load
from tocsin_kit.telemetry.logs import configure_logs
from tocsin_kit.telemetry.setup import make_tracer_provider, shut_down_tracing

#: So many objects more than at its last look make the garbage collector look again: batches' worth, not a message's.
_YOUNG_OBJECTS = 10_000
_log = structlog.get_logger(__name__)


class Part(Protocol):
    """Something that runs in the background until the service stops. An error it raises ends the service."""

    @property
    def name(self) -> str:
        """How it is called in logs."""
        ...

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping`, then finish what is in hand."""
        ...


class Server(Protocol):
    """Something that listens on a port."""

    @property
    def name(self) -> str:
        """How it is called in logs and in `Running.ports`."""
        ...

    @property
    def port(self) -> int:
        """The bound port, once started."""
        ...

    async def start(self) -> None:
        """Listen."""
        ...

    def not_ready(self) -> None:
        """Tell whoever asks that no new work is wanted."""
        ...

    async def stop(self, limit: timedelta) -> None:
        """Refuse new calls, finish those under way within `limit`."""
        ...


@dataclass(frozen=True)
class Running:
    """A started service: its ports by server name, and the first failure of a part."""

    name: str
    ports: dict[str, int]
    failure: asyncio.Future[None]

    async def failed(self) -> None:
        """Wait for a part to fail and raise its error."""
        await asyncio.shield(self.failure)


@dataclass
class _Group:
    """Parts that stop together."""

    parts: Sequence[Part]
    failure: asyncio.Future[None]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        for part in self.parts:
            task = asyncio.create_task(part.run(self.stopping), name=part.name)
            task.add_done_callback(self._ended)
            self.tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self.failure.done():
            return
        error = task.exception()
        if error is not None:
            _log.error("part_failed", part=task.get_name(), exc_info=error)
            self.failure.set_exception(error)
        elif not self.stopping.is_set():
            self.failure.set_exception(RuntimeError(f"{task.get_name()} ended by itself"))

    async def stop(self, limit: timedelta) -> None:
        self.stopping.set()
        if not self.tasks:
            return
        _, late = await asyncio.wait(self.tasks, timeout=limit.total_seconds())
        for task in late:
            _log.warning("part_cut_off", part=task.get_name())
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class _Patience:
    """The time that is left for stopping, of which each step gets a share."""

    def __init__(self, whole: timedelta) -> None:
        self._until = asyncio.get_running_loop().time() + whole.total_seconds()

    def share(self, part: float) -> timedelta:
        """This part of what is left; never nothing."""
        left = self._until - asyncio.get_running_loop().time()
        return timedelta(seconds=max(left * part, 0.1))


async def _closed(close: Callable[[], Awaitable[None]], limit: timedelta) -> Exception | None:
    """Close something; answers why it could not: that keeps nothing else from being closed."""
    try:
        await asyncio.wait_for(close(), limit.total_seconds())
    except Exception as error:
        _log.error("not_closed", what=getattr(close, "__qualname__", str(close)), error=type(error).__name__)
        return error
    return None


@asynccontextmanager
async def running(
    name: str,
    settings: ServiceSettings,
    *,
    parts: Sequence[Part],
    plumbing: Sequence[Part] = (),
    servers: Sequence[Server] = (),
    closing: Sequence[Callable[[], Awaitable[None]]] = (),
) -> AsyncIterator[Running]:
    """Start everything, yield, and stop: not ready, drain, servers, `parts`, then `plumbing` (relays, the broker).

    `closing` (pools, sessions) is called last, in order. After the drain all of it together takes TOCSIN_STOP_SECONDS
    at most, which orchestrators must allow. The first error of a part is raised on leaving, unless the body raises
    its own.
    """
    failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    workers, pipes = _Group(parts, failure), _Group(plumbing, failure)
    started: list[Server] = []
    try:
        pipes.start()
        workers.start()
        for server in servers:
            await server.start()
            started.append(server)
        yield Running(name, {server.name: server.port for server in started}, failure)
    finally:
        for server in started:
            server.not_ready()
        if settings.drain_seconds and not failure.done():
            await asyncio.wait([failure], timeout=settings.drain_seconds)
        patience = _Patience(timedelta(seconds=settings.stop_seconds))
        await asyncio.gather(*(server.stop(patience.share(0.4)) for server in started))
        await workers.stop(patience.share(0.6))
        await pipes.stop(patience.share(0.5))
        unclosed = [await _closed(close, patience.share(0.5)) for close in closing]
    if failure.done():
        failure.result()
    failure.cancel()
    for error in filter(None, unclosed):
        raise error


#: What a service's app.py exports: everything it needs is passed in, so four of them run in one process.
App = Callable[..., AbstractAsyncContextManager[Running]]


def main(app: App, settings_type: type[Settings], service: str) -> None:
    """Run a service from the environment until SIGTERM or SIGINT; exit status 1 when a part failed."""
    settings = load(settings_type)
    configure_logs(
        level=settings.log_level,
        as_json=settings.env is not Environment.DEV,
        hash_key=settings.log_hash_key.get_secret_value(),
        service=service,
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        raise SystemExit(runner.run(_serve(app, settings, service)))


async def _serve(app: App, settings: ServiceSettings, service: str) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    clock = SystemClock()
    provider = make_tracer_provider(f"tocsin-{service}", endpoint=settings.otlp_endpoint, ratio=settings.trace_ratio)
    try:
        async with app(
            settings,
            clock=clock,
            ids=SystemIds(clock),
            random=SystemRandom(),
            metrics=CollectorRegistry(),
            tracer_provider=provider,
            activity=Activity(),
        ) as service_running:
            _spare_what_stays()
            _log.info("started", service=service, **service_running.ports)
            stopped = asyncio.create_task(stop.wait())
            failed = asyncio.create_task(service_running.failed())
            await asyncio.wait([stopped, failed], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            failed.cancel()
    except Exception:
        _log.exception("service_failed", service=service)
        return 1
    finally:
        await shut_down_tracing(provider)
    _log.info("stopped", service=service)
    return 0


def _spare_what_stays() -> None:
    """Have the garbage collector leave out what is there once a service has started: it stays as long as the process.

    Some hundred thousand objects of imported modules, gone through at each full collection, took a fifth of a busy
    service's processor, in pauses of a tenth of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)
