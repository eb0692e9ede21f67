"""Serves a simulator over HTTP, carries out the orders about calls, and takes orders over HTTP.

aiohttp and not Starlette: a simulator has to break connections, and aiohttp hands the transport to the handler.
"""

import asyncio
import json
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Protocol

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from tocsin_devstack.callbacks import CallbackAnswer
from tocsin_devstack.faults import CallbackFault, CallBehaviour, CallFault, Faults, Provider, Receiver
from tocsin_kit.loops import Loop

_LINGER_ZERO = struct.pack("ii", 1, 0)  # SO_LINGER on with 0 s: closing sends RST instead of FIN
_MAX_BODY = 31 * 1024 * 1024  # above SendGrid's own 30 MB, so that its refusal is ours to make
_GARBAGE = b'\x00<html>{"truncat'
_CALL_FAULTS = TypeAdapter(list[CallFault])
_CALLBACK_FAULTS = TypeAdapter(list[CallbackFault])


@dataclass(frozen=True)
class Accepted:
    """A message the simulated provider has taken and will 'deliver'."""

    provider: Provider | Receiver
    provider_id: str
    recipient: str
    delivery_id: str | None  # ours, from custom_args or the StatusCallback URL
    attempt: int | None
    subject: str | None
    text: str
    html: str | None
    headers: dict[str, str]
    at: datetime  # by the simulator's clock


@dataclass(frozen=True)
class Refused:
    """A call the simulated provider answered with an error of its own, no fault order being at work."""

    provider: Provider | Receiver
    status: int
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.provider}: {self.status} {'; '.join(self.reasons)}"


@dataclass(frozen=True)
class Called:
    """A well-made call to send a message, whatever was done with it: taken, refused or left unanswered by order."""

    recipient: str
    at: datetime  # by the simulator's clock, when it had been read


class Account:
    """What one provider knows of us: every call, every message it took, and how often for each delivery."""

    def __init__(self) -> None:
        self.calls: list[Called] = []
        self.accepted: list[Accepted] = []
        self.refused: list[Refused] = []
        self.calls_by_delivery: Counter[str] = Counter()

    def was_called(self, recipient: str, at: datetime) -> None:
        """Remember a call, before anything is done with it."""
        self.calls.append(Called(recipient, at))

    def took(self, message: Accepted) -> None:
        """Remember a message."""
        self.accepted.append(message)
        if message.delivery_id is not None:
            self.calls_by_delivery[message.delivery_id] += 1

    def to(self, recipient: str) -> list[Accepted]:
        """The messages to one recipient, oldest first."""
        return [message for message in self.accepted if message.recipient == recipient]


class Simulator(Protocol):
    """What a provider simulator has for those who serve it and ask it."""

    account: Account
    faults: Faults
    app: web.Application

    @property
    def name(self) -> Provider | Receiver:
        """Who it stands for."""
        ...

    @property
    def loop(self) -> Loop:
        """Sends its callbacks."""
        ...

    @property
    def answers(self) -> Sequence[CallbackAnswer]:
        """What was said to its callbacks."""
        ...

    async def close(self) -> None:
        """Close its client."""
        ...


async def carry_out(
    request: web.Request,
    fault: CallFault | None,
    accept: Callable[[], web.Response],
    refuse: Callable[[CallFault], web.Response],
    latency: timedelta,
) -> web.StreamResponse:
    """Answer a valid call as the order says; without one, accept it after `latency` (real time, as are the delays)."""
    behaviour = fault.behaviour if fault is not None else None
    if fault is None or behaviour is CallBehaviour.DELAY:
        await pass_real_time(fault.delay if fault is not None else latency)
        return accept()
    if behaviour is CallBehaviour.STATUS:
        return refuse(fault)
    if behaviour in (CallBehaviour.HANG_BEFORE, CallBehaviour.RESET_BEFORE):
        return await _give_no_answer(request, hang=behaviour is CallBehaviour.HANG_BEFORE)
    answer = accept()
    if behaviour in (CallBehaviour.HANG_AFTER, CallBehaviour.RESET_AFTER):
        return await _give_no_answer(request, hang=behaviour is CallBehaviour.HANG_AFTER)
    if behaviour is CallBehaviour.GARBAGE:
        return web.Response(status=answer.status, body=_GARBAGE, content_type="application/json")
    return await _drip(request, answer, fault.delay)


async def pass_real_time(span: timedelta) -> None:
    """Let real time pass: this is how slow a provider is, whatever the clock says."""
    if span > timedelta():
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), span.total_seconds())


async def _give_no_answer(request: web.Request, *, hang: bool) -> web.Response:
    if hang:
        await asyncio.Event().wait()  # until the client hangs up, which cancels this handler
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        transport.abort()
    return web.Response(status=500)  # goes nowhere


async def _drip(request: web.Request, answer: web.Response, gap: timedelta) -> web.StreamResponse:
    body = answer.body if isinstance(answer.body, bytes) and answer.body else b"{}"
    status = 200 if answer.status == 204 else answer.status  # a 204 has no body that could come slowly
    slow = web.StreamResponse(status=status, headers={"Content-Type": "application/json"})
    await slow.prepare(request)
    for byte in body:
        await pass_real_time(gap)
        await slow.write(bytes((byte,)))
    await slow.write_eof()
    return slow


def add_control(simulator: Simulator) -> None:
    """The routes by which another process gives orders and reads the account."""
    app, faults, account = simulator.app, simulator.faults, simulator.account

    async def order(request: web.Request) -> web.Response:
        adapter: TypeAdapter[list[CallFault]] | TypeAdapter[list[CallbackFault]]
        adapter = _CALL_FAULTS if request.path.endswith("/faults") else _CALLBACK_FAULTS
        try:
            orders = adapter.validate_python(_as_list(await request.json()))
        except (ValidationError, json.JSONDecodeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        for one in orders:
            faults.order(one)
        return web.Response(status=204)

    async def forget(request: web.Request) -> web.Response:
        if request.path.endswith("/faults"):
            faults.forget_calls()
        else:
            faults.forget_callbacks()
        return web.Response(status=204)

    async def show(_: web.Request) -> web.Response:
        return web.json_response(
            {
                "accepted": [asdict(message) for message in account.accepted],
                "refused": [asdict(refusal) for refusal in account.refused],
                "calls_by_delivery": dict(account.calls_by_delivery),
                "answers": [asdict(answer) for answer in simulator.answers],
            },
            dumps=lambda value: json.dumps(value, default=str),
        )

    async def show_calls(_: web.Request) -> web.Response:
        taken = ("delivery_id", "attempt", "recipient", "at")
        return web.json_response(
            {
                "calls": [asdict(call) for call in account.calls],
                "taken": [{name: getattr(message, name) for name in taken} for message in account.accepted],
                "refused": [str(refusal) for refusal in account.refused],
            },
            dumps=lambda value: json.dumps(value, default=str),
        )

    for path in ("/_control/faults", "/_control/callback-faults"):
        app.router.add_post(path, order)
        app.router.add_delete(path, forget)
    app.router.add_get("/_control/account", show)
    app.router.add_get("/_control/calls", show_calls)


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


@asynccontextmanager
async def serving(simulator: Simulator, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve it and send its callbacks while inside; yields its base URL. Raises what its callback loop died of."""
    runner = web.AppRunner(simulator.app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    stopping = asyncio.Event()
    callbacks = asyncio.create_task(simulator.loop.run(stopping))
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        stopping.set()
        await callbacks
        await runner.cleanup()
        await simulator.close()


def new_app(
    routes: Sequence[tuple[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]],
) -> web.Application:
    """An application with these (method, path, handler)."""
    app = web.Application(client_max_size=_MAX_BODY)
    for method, path, handler in routes:
        app.router.add_route(method, path, handler)
    return app
