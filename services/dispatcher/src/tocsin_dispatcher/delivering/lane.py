"""A channel's lane: claims what is due while there are slots, and works on it without waiting for the slowest call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from tocsin_dispatcher.delivering.batch import Batches, Piece
from tocsin_dispatcher.delivering.digesting import whole_digests
from tocsin_dispatcher.delivering.recorder import Recorder
from tocsin_dispatcher.delivering.shares import Shares
from tocsin_dispatcher.keys import DeliveryKey
from tocsin_dispatcher.store.claims import Claimed, claim, due_by_class, give_back, last_served
from tocsin_dispatcher.store.database import Connection, Engine, in_transaction, reads
from tocsin_dispatcher.values import Channel, Delivery, WorkClass
from tocsin_kit.activity import Activity
from tocsin_kit.clock import Clock
from tocsin_kit.loops import Bell, Loop
from tocsin_kit.transient import is_transient

_OTHERS = (WorkClass.USER, WorkClass.PERIODIC, WorkClass.BILLS)
_LARGEST_CLAIM = 200
#: Seconds, of real time, until a lane that is not rung looks again at what is due and could not be claimed.
_LOCKED_BY_OTHERS = 0.05
_log = structlog.get_logger(__name__)


class Slots:
    """How many deliveries a lane may have in hand; a quarter is kept for the class realtime."""

    def __init__(self, most: int, room: Callable[[], int | None] = lambda: None) -> None:
        """`room` says where there are fewer just now: for a provider that takes few at once."""
        self._most, self._room = most, room
        self.used = 0
        #: Those in use by what a digest brings along, until its gate is passed: they make no calls.
        self.brought = 0

    @property
    def total(self) -> int:
        """How many there are."""
        room = self._room()
        return self._most if room is None else min(self._most, room)

    @property
    def unreserved(self) -> int:
        """Those for every class."""
        return max(1, self.total - max(1, self.total // 4))

    @property
    def free(self) -> int:
        """For the class realtime: what digests bring along keeps nobody back who is in a hurry."""
        return max(0, self.total - self.used + self.brought)

    @property
    def free_for_others(self) -> int:
        """For every other class."""
        return max(0, self.unreserved - self.used)


class Lane:
    """A Part: the worker of one channel."""

    def __init__(
        self,
        channel: Channel,
        engine: Engine,
        *,
        slots: int,
        room: Callable[[], int | None] = lambda: None,
        lease: timedelta,
        bell: Bell,
        clock: Clock,
        activity: Activity,
        shares: Shares | None = None,
    ) -> None:
        """`room`: see Slots. `shares` are for channels whose deliveries have addresses of their own."""
        self.name = f"lane.{channel}"
        self._channel, self._engine, self._lease = channel, engine, lease
        self._reads = reads(engine)
        self._slots, self._clock, self._activity, self._bell = Slots(slots, room), clock, activity, bell
        self._shares = shares
        self._loop = Loop(self.name, self._round, clock=clock, activity=activity, wake=bell)
        self._stopping = asyncio.Event()
        self._empty = asyncio.Event()
        self._put_off = False
        self._batches: Batches | None = None
        self._recorder: Recorder | None = None
        self._tasks: asyncio.TaskGroup | None = None
        #: The partner that was served last, of the class realtime and of the others.
        self._last_served: dict[bool, int] = {}

    def uses(self, batches: Batches, recorder: Recorder) -> None:
        """Who does the work; they call `done` when deliveries have left the worker's hands."""
        self._batches, self._recorder = batches, recorder

    def done(self, deliveries: Sequence[Delivery]) -> None:
        """These are written: their slots are free."""
        count = len(deliveries)
        if not count:
            return
        self._slots.used -= count
        if self._shares is not None:
            self._shares.left(deliveries)
        if self._slots.used == 0:
            self._empty.set()
        # First the bell, then the activity: nobody may take the lane for idle in between.
        self._bell.set()
        self._activity.ended(f"deliveries.{self._channel}", count)

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping`, then finish what is in hand and give back what was not begun."""
        if self._recorder is None:
            raise RuntimeError("a lane needs its recorder")
        self._stopping = stopping
        recorder_stops = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._recorder.loop.run(recorder_stops))
            await self._loop.run(stopping)
            while self._slots.used:
                self._empty.clear()
                await self._empty.wait()
            recorder_stops.set()

    async def _round(self) -> datetime | None:
        """Claim for the free slots; answers when more is due, None where slots are awaited first."""
        if self._stopping.is_set():
            return None
        if self._batches is None or self._batches.is_gating:
            self._put_off = True  # what comes due meanwhile goes through the gate together
            return None
        due, now, again, passed_over = await self._due(), self._clock.now(), False, False
        for classes, free in ((WorkClass.REALTIME,), self._free_realtime), (_OTHERS, self._free_others):
            late = [lane for lane in classes if lane in due and due[lane] <= now]
            if late and free():
                claims, brought = await self._claim(late, free())
                self._begin(claims, brought)
                again |= bool(claims) and free() > 0
                passed_over |= not claims
        if again:
            return now  # what comes next in the classes that were claimed, only asking tells
        if passed_over:
            # Others have locked it: another replica for milliseconds, or somebody for long.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._bell.wait(), _LOCKED_BY_OTHERS)
        blocked = {
            WorkClass.REALTIME: self._slots.free <= 0,
            **dict.fromkeys(_OTHERS, self._slots.free_for_others <= 0),
        }
        return min((at for lane, at in due.items() if not blocked[lane] or at > now), default=None)

    def _free_realtime(self) -> int:
        return min(self._slots.free, _LARGEST_CLAIM)

    def _free_others(self) -> int:
        return min(self._slots.free_for_others, _LARGEST_CLAIM)

    async def _due(self) -> Mapping[WorkClass, datetime]:
        async with self._reads.connect() as connection:
            return await due_by_class(connection, self._channel, self._rooms())

    async def _claim(self, classes: Sequence[WorkClass], slots: int) -> tuple[list[Claimed], frozenset[DeliveryKey]]:
        """What is due, and which of it was brought along by what leaves together with it."""
        realtime = WorkClass.REALTIME in classes
        after = self._last_served.get(realtime, 0)

        async def work(connection: Connection) -> tuple[list[Claimed], frozenset[DeliveryKey]]:
            now = self._clock.now()
            leased_until = now + self._lease
            firsts = await claim(connection, self._channel, classes, slots, now, leased_until, after, self._rooms())
            claims = await whole_digests(connection, self._channel, firsts, now, leased_until)
            return claims, frozenset(one.key for one in claims) - {one.key for one in firsts}

        claims, brought = await in_transaction(self._engine, work)
        self._last_served[realtime] = last_served(claims, after)
        return claims, brought

    def _rooms(self) -> Mapping[UUID, int] | None:
        return None if self._shares is None else self._shares.rooms()

    def _begin(self, claims: Sequence[Claimed], brought: frozenset[DeliveryKey]) -> None:
        if not claims or self._batches is None:
            return
        self._slots.used += len(claims)
        self._slots.brought += len(brought)
        if self._shares is not None:
            self._shares.took(_deliveries(claims))
        self._activity.begun(f"deliveries.{self._channel}", len(claims))
        for piece, members in self._batches.split(claims):
            self._spawn(self._piece(piece, members, sum(one.key in brought for one in members)))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        if self._tasks is None:
            raise RuntimeError("a lane works while it runs")
        self._tasks.create_task(work)

    def _go_on(self) -> None:
        """The gate is free: have the round that was put off."""
        if self._put_off:
            self._put_off = False
            self._bell.set()

    async def _piece(self, piece: Piece, members: Sequence[Claimed], brought: int) -> None:
        """Do a piece; the calls that follow run by themselves. A database that is away costs the claim, not more."""
        try:
            if self._stopping.is_set():
                now = self._clock.now()
                await in_transaction(self._engine, lambda connection: give_back(connection, members, now))
                self.done(_deliveries(members))
                return
            calls = await piece()
            self._go_on()
        except Exception as error:
            if not is_transient(error):
                raise
            _log.warning("claims_left_to_their_lease", channel=self._channel, error=type(error).__name__)
            self.done(_deliveries(members))
            return
        finally:
            self._slots.brought -= brought
        for call in calls:
            self._spawn(call())


def _deliveries(claims: Sequence[Claimed]) -> list[Delivery]:
    return [claimed.delivery for claimed in claims]
