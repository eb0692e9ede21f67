"""A pool of child processes that render banks' templates.

A child serves one render at a time and is used again and again: starting one takes 150 ms, a render 0.1 ms. One that
takes too long, dies or answers nonsense is killed and replaced while the others go on. A bank has one child at a time,
so that whatever its templates do, the other banks' find one free.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

import structlog

from tocsin_dispatcher.templating.sandbox import LARGEST_OUTPUT, Fault

LIMIT = timedelta(seconds=1)
"""How long a render may take."""
SLOW = timedelta(milliseconds=250)
"""A render that used so much of a processor counts against its template."""
MEMORY = 256 * 1024 * 1024
"""Bytes of address space; a child that has rendered nothing has 25 MB."""

_PATIENCE = timedelta(milliseconds=500)
_START_LIMIT = timedelta(seconds=10)
_WAITING = 1_000
"""Of a bank."""
_LENGTH = struct.Struct(">I")
_LARGEST_ANSWER = 7 * LARGEST_OUTPUT
"""In JSON a character takes up to six bytes."""
_log = structlog.get_logger(__name__)


class FailureKind(StrEnum):
    """Why a bank's template gave no text that can be used."""

    ERROR = Fault.ERROR.value
    TOO_LARGE = Fault.TOO_LARGE.value
    MEMORY = Fault.MEMORY.value
    EMPTY = Fault.EMPTY.value
    TIMEOUT = "timeout"
    DIED = "died"
    SLOW = "slow"
    """It gave its text, but too slowly to go on like that."""
    BUSY = "busy"
    """No child was free: no fault of the template's."""


@dataclass(frozen=True, slots=True)
class Failure:
    """No text. `line` counts from 1; 0, and an empty part, where none is to blame."""

    kind: FailureKind
    part: str = ""
    line: int = 0
    why: str = ""

    def __str__(self) -> str:
        at = f"line {self.line}: " if self.line else ""
        return f"{at}{self.why or self.kind.value.replace('_', ' ')}"


@dataclass(frozen=True, slots=True)
class Texts:
    """The parts of a message, rendered."""

    parts: Mapping[str, str]
    cpu: timedelta
    """What it took of a processor."""


Sources = Mapping[str, str]
_NONSENSE = Failure(FailureKind.DIED, why="was answered by nonsense")
_GIVEN_UP = Failure(FailureKind.BUSY, why="it failed too often while this one waited")
_BUSY = Failure(FailureKind.BUSY, why="no process was free to render it")


class Children:
    """The pool. Processes are started when they are first needed: without templates of banks there are none."""

    def __init__(
        self,
        size: int = 3,
        *,
        limit: timedelta = LIMIT,
        patience: timedelta = _PATIENCE,
        memory: int = MEMORY,
    ) -> None:
        """`patience` is how long a render waits for a child that is free."""
        self._limit, self._patience = limit, patience
        self._idle = [_Child(memory, limit) for _ in range(size)]
        self._at_work: set[int] = set()
        self._waiting: dict[int, deque[asyncio.Future[_Child]]] = {}
        """By bank, whose turn comes first."""
        self._warm: asyncio.Future[list[None]] | None = None

    async def render(
        self,
        partner_id: int,
        sources: Sources,
        variables: Mapping[str, object],
        unless: Callable[[], bool] = lambda: False,
    ) -> Texts | Failure:
        """The parts with the variables filled in; when its turn has come it is not tried where `unless` says so."""
        answer = await self._ask(partner_id, {"sources": sources, "variables": variables}, unless)
        match answer:
            case Failure():
                return answer
            case {"texts": dict(texts), "cpu": float(cpu)} if texts.keys() == sources.keys():
                return Texts({part: str(text) for part, text in texts.items()}, timedelta(seconds=cpu))
            case _:
                return _NONSENSE

    async def names(self, partner_id: int, sources: Sources, known: Sequence[str]) -> list[str] | Failure:
        """The variables that the parts use, all of them among the known ones."""
        answer = await self._ask(partner_id, {"sources": sources, "known": list(known)})
        match answer:
            case Failure():
                return answer
            case {"names": list(names)}:
                return [str(name) for name in names]
            case _:
                return _NONSENSE

    async def warm_up(self) -> None:
        """Have all of them started, if they are not: for who cannot wait that long for a text."""
        if self._warm is None:
            self._warm = asyncio.gather(*(child.warm_up() for child in self._idle))
        await asyncio.shield(self._warm)

    async def close(self) -> None:
        """End all that are not at work; the others when they have answered."""
        for child in self._idle:
            await child.end()

    async def _ask(
        self, partner_id: int, request: Mapping[str, object], unless: Callable[[], bool] = lambda: False
    ) -> dict[str, Any] | Failure:
        try:
            child = await self._take(partner_id)
        except TimeoutError:
            return _BUSY
        try:
            return _GIVEN_UP if unless() else await child.ask(request)
        finally:
            self._give_back(partner_id, child)

    async def _take(self, partner_id: int) -> _Child:
        """A child for the bank, in turn. Raises TimeoutError."""
        if len(self._waiting.get(partner_id, ())) >= _WAITING:
            raise TimeoutError
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(partner_id, deque()).append(turn)
        self._assign()
        try:
            async with asyncio.timeout(self._patience.total_seconds()):
                return await asyncio.shield(turn)
        except BaseException:
            self._leave(partner_id, turn)
            raise

    def _leave(self, partner_id: int, turn: asyncio.Future[_Child]) -> None:
        """Wait no longer; a child that was given in the same moment goes to the next."""
        if turn.done():
            self._give_back(partner_id, turn.result())
            return
        self._waiting[partner_id].remove(turn)
        if not self._waiting[partner_id]:
            del self._waiting[partner_id]

    def _give_back(self, partner_id: int, child: _Child) -> None:
        self._at_work.discard(partner_id)
        self._idle.append(child)
        self._assign()

    def _assign(self) -> None:
        """Give free children to banks that have none, one after the other: who was served is the last again."""
        for partner_id in list(self._waiting):
            if not self._idle:
                return
            if partner_id in self._at_work:
                continue
            turns = self._waiting.pop(partner_id)
            self._at_work.add(partner_id)
            turns.popleft().set_result(self._idle.pop())
            if turns:
                self._waiting[partner_id] = turns


class _Child:
    """A process, or the place of one that is not started yet."""

    def __init__(self, memory: int, limit: timedelta) -> None:
        self._memory, self._limit = memory, limit
        self._process: asyncio.subprocess.Process | None = None
        self._starting: asyncio.Task[None] | None = None

    async def ask(self, request: Mapping[str, object]) -> dict[str, Any] | Failure:
        """What it answers. Whatever goes wrong, it is replaced."""
        try:
            process = await self._started()
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            _log.error("no_template_process", error=type(error).__name__)
            await self.end()
            return _BUSY
        try:
            async with asyncio.timeout(self._limit.total_seconds()):
                answer = await _exchange(process, request)
        except TimeoutError:
            await self._replace()
            return Failure(FailureKind.TIMEOUT, why=f"took longer than {self._limit.total_seconds():g} s")
        except (OSError, asyncio.IncompleteReadError, ValueError):
            await self._replace()
            return Failure(FailureKind.DIED, why="ended the process that rendered it")
        except BaseException:
            await self.end()  # its answer would be taken for the next one's
            raise
        if "fault" not in answer:
            return answer
        failure = _failure(answer)
        if failure.kind in (FailureKind.MEMORY, FailureKind.DIED):
            await self._replace()
        return failure

    async def warm_up(self) -> None:
        """Start it; where it cannot be, who asks it is told so."""
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            await self._started()

    async def end(self) -> None:
        """Kill the process."""
        if self._starting is not None:
            self._starting.cancel()
            with suppress(asyncio.CancelledError, OSError, TimeoutError, asyncio.IncompleteReadError):
                await self._starting
            self._starting = None
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _replace(self) -> None:
        """End it and start another now, for whoever comes next."""
        await self.end()
        self._starting = asyncio.create_task(self._start())

    async def _started(self) -> asyncio.subprocess.Process:
        if self._starting is None and (self._process is None or self._process.returncode is not None):
            self._starting = asyncio.create_task(self._start())
        if self._starting is not None:
            await asyncio.shield(self._starting)
            self._starting = None
        if self._process is None:
            raise OSError("it was ended while it started")
        return self._process

    async def _start(self) -> None:
        """Without an environment, in a session of its own: it holds no secret, and no Ctrl-C reaches it."""
        module = ("-I", "-m", "tocsin_dispatcher.templating.child")
        arguments = (str(self._memory), f"{self._limit.total_seconds():g}")
        async with asyncio.timeout(_START_LIMIT.total_seconds()):
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *module,
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={},
                cwd="/",
                start_new_session=True,
            )
            await _read(self._process)


def _failure(answer: Mapping[str, object]) -> Failure:
    """The failure that a child tells of. What a child says is never trusted: nonsense is a failure like another."""
    match answer:
        case {"fault": str(fault), "part": str(part), "line": int(line), "why": str(why)} if fault in set(Fault):
            return Failure(FailureKind(fault), part, line, why)
        case _:
            return _NONSENSE


async def _exchange(process: asyncio.subprocess.Process, request: Mapping[str, object]) -> dict[str, Any]:
    """Raises OSError or IncompleteReadError where it has died, ValueError for what is no answer."""
    body = json.dumps(request).encode()
    if process.stdin is None:
        raise OSError("it has no stdin")
    process.stdin.write(_LENGTH.pack(len(body)) + body)
    await process.stdin.drain()
    return await _read(process)


async def _read(process: asyncio.subprocess.Process) -> dict[str, Any]:
    if process.stdout is None:
        raise OSError("it has no stdout")
    (length,) = _LENGTH.unpack(await process.stdout.readexactly(_LENGTH.size))
    if length > _LARGEST_ANSWER:
        raise ValueError("an answer that is too long")
    answer = json.loads(await process.stdout.readexactly(length))
    if not isinstance(answer, dict):
        raise ValueError("no answer")
    return answer
