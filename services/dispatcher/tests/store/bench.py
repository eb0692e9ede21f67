"""A replica of the dispatcher over a real database, with providers that a test scripts and no broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from random import Random
from typing import Any
from uuid import UUID

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tocsin_dispatcher.announcing import Announcer
from tocsin_dispatcher.breakers import BreakerKey
from tocsin_dispatcher.delivering.batch import Batches
from tocsin_dispatcher.delivering.breaker_board import BreakerBoard
from tocsin_dispatcher.delivering.candidates import Rules
from tocsin_dispatcher.delivering.gatekeeper import Gatekeeper
from tocsin_dispatcher.delivering.lane import Lane
from tocsin_dispatcher.delivering.look_ups import LookUps
from tocsin_dispatcher.delivering.recorder import Recorder
from tocsin_dispatcher.delivering.shares import Shares
from tocsin_dispatcher.delivering.way import ReadDestinations, Sent
from tocsin_dispatcher.doors.translate import change_to_event
from tocsin_dispatcher.intake.intake import Intake
from tocsin_dispatcher.intake.profiles import Profiles
from tocsin_dispatcher.keys import DeliveryKey, UserKey
from tocsin_dispatcher.receiving.applying import Applier
from tocsin_dispatcher.receiving.callbacks import Callbacks
from tocsin_dispatcher.store import tables
from tocsin_dispatcher.store.claims import Claimed
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.recipients import Defaults, Profile
from tocsin_dispatcher.unsubscribe import UnsubscribeLinks
from tocsin_dispatcher.values import (
    AlertKind,
    AlertStanding,
    Attempt,
    Channel,
    Contact,
    Destination,
    Firing,
    GateRules,
    InAppMessage,
    Made,
    Notification,
    Outcome,
    OutcomeKind,
    Recipient,
    SmsMessage,
    SmsSize,
    TransactionLimitContext,
    WorkClass,
)
from tocsin_kit.activity import Activity
from tocsin_kit.clock import SteppedClock
from tocsin_kit.ids import SeededIds
from tocsin_kit.loops import Bell
from tocsin_kit.postgres.outbox import Outbox
from tocsin_kit.telemetry.metrics import Metrics

ACCEPTED = Outcome(OutcomeKind.ACCEPTED, provider_id="message")
ADDRESS_KEY = b"a key of this test"
SMALL = SmsSize(1, Decimal("0.0079"))
_QUIET = timedelta(seconds=30)


@dataclass
class ScriptedWay:
    """A channel whose providers answer as the test says: `answers` first, then accepted; each call is kept."""

    channel: Channel
    chain: Sequence[BreakerKey] = (BreakerKey("first", "key"),)
    answers: list[Outcome] = field(default_factory=list)
    found: list[Outcome] = field(default_factory=list)
    calls: list[tuple[BreakerKey, Attempt]] = field(default_factory=list)
    brought: list[Notification] = field(default_factory=list)
    block: asyncio.Event | None = None
    look_up: Any = None
    begun: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    read: ReadDestinations | None = None
    rooms: Mapping[BreakerKey, int] = field(default_factory=dict)

    def chain_to(self, destination: Destination | None) -> Sequence[BreakerKey]:
        """The same for all, or where addresses are read what guards each."""
        return self.chain if destination is None else [BreakerKey("own", destination.breaker)]

    async def destinations(
        self, connection: Connection, claims: Sequence[Claimed], now: datetime
    ) -> Mapping[DeliveryKey, Destination]:
        return {} if self.read is None else await self.read(connection, claims, now)

    async def send(
        self, key: BreakerKey, attempt: Attempt, notification: Notification, recipient: Recipient, now: datetime
    ) -> Sent:
        self.calls.append((key, attempt))
        self.brought.append(notification)
        self.begun.release()
        if self.block is not None:
            await self.block.wait()
        outcome = self.answers.pop(0) if self.answers else replace(ACCEPTED, provider_id=f"m-{attempt.delivery_id}")
        return Sent(outcome, SMALL if self.channel is Channel.SMS else None)

    def text_message(self, notification: Notification, recipient: Recipient, at: datetime) -> SmsMessage | None:
        return SmsMessage("+13125550123", "The text", SMALL) if self.channel is Channel.SMS else None

    async def made(self, to: str, attempt: Attempt) -> Sequence[Made] | None:
        """What is made of the next of `found`: nothing listed where it never arrived, None where nobody can say."""
        found = self.found.pop(0)
        if found.kind is OutcomeKind.UNKNOWN:
            return None
        if found.kind is OutcomeKind.TRANSIENT:
            return []
        return [Made(found.provider_id or "", attempt.started_at, "The text", found)]


@dataclass
class Bench:
    """One replica. `standings` is what the evaluator says of a firing; others hold."""

    engine: AsyncEngine
    clock: SteppedClock
    ids: SeededIds
    activity: Activity
    intake: Intake
    profiles: Profiles
    callbacks: Callbacks
    applier: Applier
    way: ScriptedWay
    lane: Lane
    batches: Batches
    recorder: Recorder
    gatekeeper: Gatekeeper
    standings: dict[UUID, AlertStanding]
    inboxes: list[tuple[UserKey, int]]
    spans: InMemorySpanExporter
    metrics: CollectorRegistry
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """The lane runs in the block."""
        part = asyncio.create_task(self.lane.run(self.stopping))
        try:
            await self.quiet()
            yield
        finally:
            self.stopping.set()
            await part
            self.stopping = asyncio.Event()

    async def quiet(self) -> None:
        """All that is due by the clock is done."""
        await self.activity.until_quiet(_QUIET, self.clock.now())

    async def step(self) -> datetime:
        """Move the clock to the next instant at which the lane knows of work, and let it be done."""
        due = self.activity.next_due()
        assert due is not None, "nothing is due any more"
        self.clock.move_to(due)
        await self.quiet()
        return due

    async def rows(self, sql: str, **values: object) -> Sequence[Row[Any]]:
        """What a query answers."""
        async with self.engine.connect() as connection:
            return (await connection.execute(text(sql), values)).all()

    async def execute(self, sql: str, **values: object) -> None:
        """A statement of the test's own."""
        async with self.engine.begin() as connection:
            await connection.execute(text(sql), values)

    async def delivery(self, channel: Channel | None = None) -> Row[Any]:
        """The only delivery on a channel (the way's)."""
        rows = await self.rows("SELECT * FROM deliveries WHERE channel = :channel", channel=channel or self.way.channel)
        assert len(rows) == 1, f"expected one delivery, found {len(rows)}"
        return rows[0]

    async def states(self) -> dict[str, int]:
        """Deliveries of the way's channel by state."""
        rows = await self.rows(
            "SELECT status, count(*) AS many FROM deliveries WHERE channel = :channel GROUP BY 1",
            channel=self.way.channel,
        )
        return {row.status: row.many for row in rows}

    async def profile(self, user_id: int = 1, partner_id: int = 1, version: int = 1) -> None:
        """A verified person in Chicago."""
        contact = Contact(
            partner_id=partner_id,
            user_id=user_id,
            email=f"user{user_id}@example.com",
            email_verified_at=None,
            phone="+13125550123",
            phone_verified_at=None,
            locale="en-US",
            time_zone="America/Chicago",
            version=version,
        )
        assert await self.profiles.take_in([Profile(contact, True, True, self.clock.now())]) == []

    def firing(self, **changes: Any) -> Firing:
        """A limit alert's, of user 1, by e-mail."""
        number = changes.pop("purchase_id", self.ids.uuid7().int % 10**9)
        context = TransactionLimitContext(
            transaction_id=number,
            purchase_id=number,
            description="Wheel of cheese",
            amount=Decimal("-812.00"),
            limit=Decimal("500.00"),
            currency="USD",
            posted_on=self.clock.now().date(),
        )
        firing = Firing(
            id=self.ids.uuid7(),
            partner_id=1,
            user_id=1,
            alert_id=7,
            kind=AlertKind.TRANSACTION_LIMIT,
            work_class=WorkClass.REALTIME,
            occurrence_key=f"1:purchase:{number}",
            context=context,
            fired_at=self.clock.now(),
            critical=False,
            channels=(self.way.channel,),
            daily_digest=False,
            profile_version=1,
            time_zone="America/Chicago",
            locale="en-US",
            alert_name="Large ones",
        )
        return replace(firing, **changes)


def make_bench(
    url: str,
    clock: SteppedClock,
    seed: int,
    way: ScriptedWay,
    *,
    slots: int = 50,
    lease: timedelta = timedelta(minutes=1),
    paces: Mapping[str, int] | None = None,
) -> Bench:
    """A replica over the database at `url`."""
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"), pool_size=10, max_overflow=10)
    ids, activity, metrics = SeededIds(seed, clock), Activity(), Metrics(CollectorRegistry())
    announcer = Announcer(Outbox.on(tables.outbox, Activity(), "dispatcher"), change_to_event, metrics)
    standings: dict[UUID, AlertStanding] = {}
    inboxes: list[tuple[UserKey, int]] = []

    async def tell(versions: Sequence[tuple[UserKey, int]]) -> None:
        inboxes.extend(versions)

    async def recheck(firings: Sequence[tuple[int, UUID]]) -> Mapping[UUID, AlertStanding]:
        return {firing_id: standings[firing_id] for _, firing_id in firings if firing_id in standings}

    def render(firing: Firing, now: datetime) -> InAppMessage:
        return InAppMessage("Large transaction", f"Large one of {firing.alert_name}", "https://app.example/1")

    defaults = Defaults(10, 50)
    rules = Rules(GateRules(), defaults, ADDRESS_KEY, lease)
    bell = Bell(activity)
    spans = InMemorySpanExporter()
    tracer_provider = TracerProvider()
    tracer_provider.add_span_processor(SimpleSpanProcessor(spans))
    applier = Applier(announcer, {way.channel: bell}, tracer_provider.get_tracer("test"), ADDRESS_KEY)
    board = BreakerBoard(engine, clock, metrics, way.chain, paces or {}, Random(seed), rooms=way.rooms)
    shares = None if way.read is None else Shares(lambda: map(UUID, board.refusing("own")))
    lane = Lane(
        way.channel,
        engine,
        slots=slots,
        room=partial(board.room, way.chain),
        lease=lease,
        bell=bell,
        clock=clock,
        activity=activity,
        shares=shares,
    )
    recorder = Recorder(
        way.channel,
        engine,
        board,
        announcer,
        applier,
        clock=clock,
        random=Random(seed),
        metrics=metrics,
        activity=activity,
        address_key=ADDRESS_KEY,
        after=lane.done,
        chain=way.chain,
    )
    gatekeeper = Gatekeeper(engine, way, board, announcer, clock, ids, metrics, rules)
    look_ups = LookUps(engine, way, defaults, timedelta(seconds=10), lease)
    batches = Batches(look_ups, way, gatekeeper, recorder, board, recheck, clock, lane.done)
    lane.uses(batches, recorder)
    links = UnsubscribeLinks({"1": b"a key"}, "https://tocsin.example")
    return Bench(
        engine=engine,
        clock=clock,
        ids=ids,
        activity=activity,
        intake=Intake(engine, announcer, tell, {way.channel: bell}, clock, ids, render, defaults),
        profiles=Profiles(engine, {way.channel: bell}, clock),
        callbacks=Callbacks(engine, applier, links, clock),
        applier=applier,
        way=way,
        lane=lane,
        batches=batches,
        recorder=recorder,
        gatekeeper=gatekeeper,
        standings=standings,
        inboxes=inboxes,
        spans=spans,
        metrics=metrics.registry,
    )
