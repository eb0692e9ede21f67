"""A recheck with an evaluator that is silent, away, broken or something else altogether: nothing is known, and soon."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import grpc
import pytest
from opentelemetry.trace import NoOpTracer
from structlog.testing import capture_logs

from tocsin.alerts.v1 import evaluation_pb2
from tocsin_dispatcher.doors.evaluator import RECHECK_LIMIT, Evaluator
from tocsin_dispatcher.values import AlertStanding
from tocsin_kit.rpc.client import channel

FIRINGS = [(1, UUID(int=number)) for number in range(1, 4)]
#: Far longer than the limit, on a machine that others use too, and far shorter than any other time limit of a call.
PATIENCE = timedelta(seconds=5)

Context = grpc.aio.ServicerContext[Any, Any]
Request = evaluation_pb2.RecheckFiringsRequest
Response = evaluation_pb2.RecheckFiringsResponse
Rechecked = evaluation_pb2.RecheckedFiring
HOLDS = evaluation_pb2.RECHECK_VERDICT_HOLDS
Answer = Callable[[Request, Context], Awaitable[Response | bytes]]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def asking(port: int) -> AsyncIterator[Evaluator]:
    """The dispatcher's client of whatever is at a port."""
    async with channel(f"127.0.0.1:{port}", tokens=None, tracer=NoOpTracer()) as opened:
        yield Evaluator(opened)


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[Evaluator]:
    """A gRPC server whose answer to a recheck is `answer`'s, which may be no message of the contract."""

    def encoded(message: Response | bytes) -> bytes:
        return message if isinstance(message, bytes) else message.SerializeToString()

    method = grpc.unary_unary_rpc_method_handler(answer, Request.FromString, encoded)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("tocsin.alerts.v1.EvaluationService", {"RecheckFirings": method})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with asking(port) as evaluator:
            yield evaluator
    finally:
        await server.stop(grace=None)


@asynccontextmanager
async def talking(talk: Talk) -> AsyncIterator[Evaluator]:
    """A server of anything, which `talk`s on each connection."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
            await over.wait()
        finally:
            writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        async with asking(server.sockets[0].getsockname()[1]) as evaluator:
            yield evaluator
        over.set()


async def knows_nothing(evaluator: Evaluator) -> float:
    """Nothing is known of any firing, and nothing raised; how long that took, in seconds."""
    time = asyncio.get_running_loop().time
    began = time()
    async with asyncio.timeout(60):
        assert await evaluator.recheck(FIRINGS) == {}
    took = time() - began
    assert took < PATIENCE.total_seconds()
    return took


def holding(request: Request) -> Response:
    """Every alert stands."""
    return Response(firings=[Rechecked(firing_id=one.firing_id, verdict=HOLDS) for one in request.firings])


async def test_what_the_evaluator_says_is_known() -> None:
    async def answer(request: Request, _context: Context) -> Response:
        return holding(request)

    async with answering(answer) as evaluator:
        assert await evaluator.recheck(FIRINGS) == {id_: AlertStanding.HOLDS for _, id_ in FIRINGS}


async def test_an_evaluator_that_is_silent_is_waited_for_two_seconds() -> None:
    left: list[float] = []
    gone = asyncio.Event()

    async def answer(_request: Request, context: Context) -> Response:
        left.append(context.time_remaining())
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        raise AssertionError("unreachable")

    async with answering(answer) as evaluator:
        took = await knows_nothing(evaluator)
        await asyncio.wait_for(gone.wait(), PATIENCE.total_seconds())
    assert timedelta(seconds=2) == RECHECK_LIMIT
    [given] = left
    assert given < 2.5, "the deadline that the evaluator sees, as gRPC rounds it"
    assert took >= 1.9, "it is given its time"


async def test_whoever_takes_the_connection_and_says_nothing_is_not_waited_for_longer() -> None:
    async def talk(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        """Nothing."""

    async with talking(talk) as evaluator:
        await knows_nothing(evaluator)


async def test_a_port_where_nobody_listens_is_not_waited_for() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        async with asking(bound.getsockname()[1]) as evaluator:
            await knows_nothing(evaluator)


async def test_a_connection_that_is_reset_tells_nothing() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.transport.abort()

    async with talking(talk) as evaluator:
        await knows_nothing(evaluator)


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"220 mail.bank.example ESMTP\r\n",
        b"\x00" * 100,
        b"\xff" * 20_000,
        b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + b"\x00\x00\x08\x01\x04\x00\x00\x00\x01garbage!",
    ],
    ids=["http/1.1", "smtp", "zeros", "ones", "http/2 without sense"],
)
async def test_what_is_no_grpc_tells_nothing(said: bytes) -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()

    async with talking(talk) as evaluator:
        await knows_nothing(evaluator)


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
async def test_an_error_tells_nothing(code: grpc.StatusCode) -> None:
    async def answer(_request: Request, context: Context) -> Response:
        await context.abort(code, "not now")
        raise AssertionError("unreachable")

    async with answering(answer) as evaluator:
        await knows_nothing(evaluator)


async def test_an_evaluator_without_the_rpc_tells_nothing() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with asking(port) as evaluator:
        await knows_nothing(evaluator)
    await server.stop(grace=None)


@pytest.mark.parametrize(
    "said",
    [
        b"\xff\xff\xff",
        Response(firings=[Rechecked(firing_id="none", verdict=HOLDS)]).SerializeToString(),
        Response(firings=[Rechecked(firing_id="", verdict=HOLDS)]).SerializeToString(),
        Response(firings=[Rechecked(firing_id=str(FIRINGS[0][1]))]).SerializeToString(),
        b"",
    ],
    ids=["no message", "an id that is none", "no id", "no verdict", "nothing"],
)
async def test_an_answer_that_makes_no_sense_tells_nothing(said: bytes) -> None:
    async def answer(_request: Request, _context: Context) -> bytes:
        return said

    async with answering(answer) as evaluator:
        await knows_nothing(evaluator)


async def test_what_was_heard_before_it_fell_silent_is_kept() -> None:
    """Firings are asked for by the thousand."""
    asked: list[int] = []

    async def answer(request: Request, context: Context) -> Response:
        asked.append(len(request.firings))
        if len(asked) > 1:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        return holding(request)

    many = [(1, UUID(int=number)) for number in range(1, 2502)]
    async with answering(answer) as evaluator:
        known = await evaluator.recheck(many)
    assert known == {id_: AlertStanding.HOLDS for _, id_ in many[:1000]}
    assert asked == [1000, 1000], "it is not asked for the rest"


async def test_silence_is_logged_once_until_it_ends() -> None:
    said: list[Response | bytes | None] = [None, None, Response(), b"\xff", b"\xff", Response(), None]

    async def answer(_request: Request, context: Context) -> Response | bytes:
        now = said.pop(0)
        if now is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
            raise AssertionError("unreachable")
        return now

    async with answering(answer) as evaluator:
        with capture_logs() as logs:
            while said:
                await evaluator.recheck(FIRINGS)
    assert {line["event"] for line in logs} == {"evaluator_does_not_answer"}
    assert [line["code"] for line in logs] == ["UNAVAILABLE", "UNREADABLE", "UNAVAILABLE"]
