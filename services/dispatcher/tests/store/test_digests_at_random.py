"""Days of several people, at random: bursts, nights, limits, failures, outages, kills and two replicas; in the end each
alert has had exactly one fate, and nobody was told anything twice, too late, at night or beyond a limit."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from zoneinfo import ZoneInfo

import pytest

from tocsin_dispatcher.breakers import BreakerKey
from tocsin_dispatcher.delivering.digesting import whole_digests
from tocsin_dispatcher.delivering.way import Sent
from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.planning.recheck import FRESH
from tocsin_dispatcher.receipts.parse import Callback
from tocsin_dispatcher.receiving.callbacks import Arrived
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.claims import Claimed, claim
from tocsin_dispatcher.store.ledger import books
from tocsin_dispatcher.values import (
    AlertStanding,
    Attempt,
    Channel,
    Digest,
    Firing,
    Made,
    Notification,
    Outcome,
    OutcomeKind,
    Recipient,
    SmsMessage,
    Told,
    TransactionLimitContext,
    WorkClass,
)

from .bench import SMALL, Bench, ScriptedWay
from .conftest import MakeBench

CHICAGO = ZoneInfo("America/Chicago")
BEGINS = datetime(2026, 3, 7, 22, tzinfo=UTC)
"""The afternoon before the night that is an hour short."""
PEOPLE = {UserKey(1, 1): (10, 50), UserKey(1, 2): (2, 6), UserKey(1, 3): (4, 50), UserKey(2, 1): (1, 50)}
"""Messages an hour and a day. All have quiet hours, 22:00 to 08:00."""
LEASE = timedelta(minutes=1)
OVER = (AlertStanding.ALERT_GONE, AlertStanding.SNOOZED, AlertStanding.NO_LONGER_TRUE)
UNTOLD = {"suppressed", "expired", "failed"}


@dataclass
class Call:
    """One call of a provider, and which firings its message told."""

    at: datetime
    user: UserKey
    told: frozenset[int]
    attempt: Attempt
    critical: bool
    outcome: OutcomeKind
    was_taken: bool
    was_delivered: bool = True


def numbers_of(told: Told) -> frozenset[int]:
    """The firings in a message, by the numbers of their transactions."""
    contexts = [one.context for one in told.members] if isinstance(told, Digest) else [told]
    return frozenset(one.transaction_id for one in contexts if isinstance(one, TransactionLimitContext))


def text_of(notification: Notification) -> str:
    """Of every message its own."""
    return f"of {notification.partner_id}-{notification.user_id}: {sorted(numbers_of(notification.context))}"


@dataclass
class World:
    """What is true outside of the dispatcher."""

    random: Random
    channel: Channel
    calls: list[Call] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    is_out: bool = False
    is_kind: bool = False
    unwilling: set[UserKey] = field(default_factory=set)
    """Who wants nothing on this channel now."""

    def call(self, notification: Notification, attempt: Attempt, now: datetime, lost: bool = False) -> Outcome:
        """A provider is called; what it answers."""
        outcome = Outcome(OutcomeKind.UNKNOWN, answer="no answer") if lost else self._answer(now)
        taken = outcome.kind is OutcomeKind.ACCEPTED
        if outcome.kind is OutcomeKind.UNKNOWN:
            taken = self.random.random() < 0.5
        user = UserKey(notification.partner_id, notification.user_id)
        assert user not in self.unwilling
        told, critical = numbers_of(notification.context), notification.critical
        self.calls.append(Call(now, user, told, attempt, critical, outcome.kind, taken))
        name = f"m-{len(self.calls)}"
        if taken:
            accepted = Outcome(OutcomeKind.ACCEPTED, provider_id=name)
            self.made.append(Made(name, now, text_of(notification), accepted))
        return replace(outcome, provider_id=name) if outcome.kind is OutcomeKind.ACCEPTED else outcome

    def _answer(self, now: datetime) -> Outcome:
        if self.is_out:
            return Outcome(OutcomeKind.TRANSIENT, status=503, answer="HTTP 503")
        chance = 1.0 if self.is_kind else self.random.random()
        if chance < 0.1:
            return Outcome(OutcomeKind.TRANSIENT, status=500, answer="HTTP 500")
        if chance < 0.25:
            return Outcome(OutcomeKind.UNKNOWN, answer="no answer")
        if chance < 0.35:
            return Outcome(OutcomeKind.PERMANENT, status=400, answer="HTTP 400")
        if chance < 0.4:
            return Outcome(OutcomeKind.THROTTLED, status=429, not_before=now + timedelta(seconds=20))
        return Outcome(OutcomeKind.ACCEPTED)


@dataclass
class RandomWay(ScriptedWay):
    """Calls go to the world."""

    world: World | None = None

    async def send(
        self, key: BreakerKey, attempt: Attempt, notification: Notification, recipient: Recipient, now: datetime
    ) -> Sent:
        assert self.world is not None
        return Sent(self.world.call(notification, attempt, now), SMALL if self.channel is Channel.SMS else None)

    def text_message(self, notification: Notification, recipient: Recipient, at: datetime) -> SmsMessage | None:
        is_sms = self.channel is Channel.SMS
        return SmsMessage("+13125550123", text_of(notification), SMALL) if is_sms else None

    async def made(self, to: str, attempt: Attempt) -> Sequence[Made] | None:
        assert self.world is not None
        return [one for one in self.world.made if one.at >= attempt.started_at]


@dataclass
class Days:
    """The days, and what is known of them."""

    random: Random
    world: World
    make: Callable[[], Awaitable[Bench]]
    replicas: list[Bench]
    firings: dict[int, Firing] = field(default_factory=dict)
    over: dict[int, tuple[datetime, AlertStanding]] = field(default_factory=dict)
    late: list[tuple[Bench, Sequence[Claimed]]] = field(default_factory=list)

    @property
    def bench(self) -> Bench:
        """Any of the replicas."""
        return self.random.choice(self.replicas)

    @property
    def now(self) -> datetime:
        """By the one clock."""
        return self.replicas[0].clock.now()

    async def begin(self) -> None:
        """People with their wishes."""
        bench = self.replicas[0]
        bench.clock.move_to(BEGINS)
        for user, (per_hour, per_day) in PEOPLE.items():
            await bench.profile(user.user_id, user.partner_id)
            await bench.execute(
                "INSERT INTO preferences (partner_id, user_id, quiet_hours_enabled, max_per_hour, max_per_day,"
                " updated_at) VALUES (:partner_id, :user_id, true, :per_hour, :per_day, :now)",
                **user._asdict(),
                per_hour=per_hour,
                per_day=per_day,
                now=BEGINS,
            )

    async def fire(self) -> None:
        """Some alerts of one person, also more critical ones than an hour may have; some of them tell one purchase."""
        user, daily, many = self.random.choice(list(PEOPLE)), self.random.random() < 0.2, self.random.random() < 0.1
        new = []
        for _ in range(40 if many else self.random.choice([1, 2, 4, 8])):
            number = len(self.firings) + 1
            purchase = self.random.randint(1, 8) if self.random.random() < 0.3 else 1000 + number
            plain = self.bench.firing(purchase_id=purchase, daily_digest=daily, **user._asdict())
            assert isinstance(plain.context, TransactionLimitContext)
            self.firings[number] = replace(
                plain,
                context=replace(plain.context, transaction_id=number),
                critical=many or self.random.random() < 0.15,
                work_class=self.random.choice([WorkClass.REALTIME, WorkClass.PERIODIC]),
            )
            new.append(self.firings[number])
        await self.bench.intake.take_in(new)

    async def work(self) -> None:
        """The replicas do all that is due."""
        first, second = self.replicas
        async with first.working(), second.working():
            await first.quiet()
            await second.quiet()
        assert [one.lane._slots.used for one in self.replicas] == [0, 0]

    async def pass_time(self) -> None:
        """Seconds, minutes or hours; at the end all that is due is done."""
        span = self.random.choice(
            [timedelta(seconds=5), timedelta(minutes=2), timedelta(minutes=20), timedelta(hours=3)]
        )
        self.replicas[0].clock.advance(span * self.random.uniform(0.5, 1.5))
        await self.work()

    async def cease(self) -> None:
        """An alert or two are over."""
        for number in self.random.sample(sorted(self.firings), min(len(self.firings), 2)):
            self.over.setdefault(number, (self.now, self.random.choice(OVER)))
            for bench in self.replicas:
                bench.standings[self.firings[number].id] = self.over[number][1]

    async def change_mind(self) -> None:
        """Somebody wants no more of the channel, or wants it again; and their digests at another hour."""
        user = self.random.choice(list(PEOPLE))
        self.world.unwilling ^= {user}
        await self.bench.execute(
            f"UPDATE preferences SET {self.world.channel}_enabled = :willing, digest_hour = :hour"  # noqa: S608
            " WHERE partner_id = :partner_id AND user_id = :user_id",
            **user._asdict(),
            willing=user not in self.world.unwilling,
            hour=self.random.randint(0, 23),
        )

    async def break_or_mend(self) -> None:
        """The provider goes away, or comes back."""
        self.world.is_out = not self.world.is_out

    async def die(self) -> None:
        """A third replica claims, and dies before its gate, after it, or after its calls; or sleeps for a while."""
        doomed, now = await self.make(), self.now
        async with doomed.engine.begin() as connection:
            claims = await claim(connection, self.world.channel, tuple(WorkClass), 20, now, now + LEASE)
            claims = await whole_digests(connection, self.world.channel, claims, now, now + LEASE)
        passive = (DeliveryState.SENDING, DeliveryState.UNKNOWN)
        ready = [one for one in claims if one.delivery.status not in passive]
        self.late.append((doomed, ready))
        if self.random.random() < 0.5:
            await self.wake()

    async def wake(self) -> None:
        """One that slept goes on, if only now, and dies during its calls."""
        if not self.late:
            return
        doomed, claims = self.late.pop()
        standings = {self.firings[number].id: standing for number, (_, standing) in self.over.items()}
        for admitted in await doomed.gatekeeper.admit(claims, standings):
            if self.random.random() < 0.5:
                one, mark = admitted.claimed.delivery, admitted.claimed.possible_duplicate
                attempt = Attempt(one.partner_id, one.id, one.attempt, "first", "key", self.now, mark)
                self.world.call(admitted.claimed.notification, attempt, self.now, lost=True)

    async def undeliver(self) -> None:
        """The provider says of a message that it could not deliver it."""
        taken = [one for one in self.world.calls if one.outcome is OutcomeKind.ACCEPTED and one.was_delivered]
        if not taken or self.world.channel is not Channel.EMAIL:
            return
        call = self.random.choice(taken)
        event = {"event": "bounce", "type": "blocked", "sg_event_id": str(self.bench.ids.uuid7())}
        ours = {"delivery_id": str(call.attempt.delivery_id), "partner_id": str(call.attempt.partner_id)}
        body = json.dumps([{**event, **ours, "delivery_attempt": str(call.attempt.number), "email": "a@b.com"}])
        callback = Callback(str(self.bench.ids.uuid7()), "sendgrid", self.now, "/webhooks/sendgrid", body.encode())
        await self.bench.callbacks.take_in([Arrived(callback, None)])
        call.was_delivered = False

    async def end(self) -> None:
        """Everything works, until nothing waits any more."""
        self.world.is_out, self.world.is_kind = False, True
        for _ in range(500):
            await self.work()
            [(due,)] = await self.replicas[0].rows("SELECT min(due_at) FROM deliveries")
            if due is None:
                return
            self.replicas[0].clock.move_to(max(due, self.now + timedelta.resolution))
        raise AssertionError("something waits for ever")


async def live(days: Days, steps: int) -> None:
    """So many things happen."""
    await days.begin()
    happenings = {
        days.fire: 8,
        days.pass_time: 8,
        days.cease: 2,
        days.change_mind: 1,
        days.break_or_mend: 1,
        days.die: 2,
        days.wake: 1,
        days.undeliver: 1,
    }
    for happen in days.random.choices(list(happenings), list(happenings.values()), k=steps):
        await happen()
    await days.end()


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("channel", "seed"), [(Channel.EMAIL, 32), (Channel.EMAIL, 34), (Channel.SMS, 32)])
async def test_each_alert_has_one_fate_and_is_told_once_in_time_and_within_limits(
    benches: MakeBench, channel: Channel, seed: int
) -> None:
    random = Random(seed)
    world = World(random, channel)

    def make() -> Awaitable[Bench]:
        way = RandomWay(channel, world=world)
        way.look_up = way
        return benches(way, slots=20, lease=LEASE)

    days = Days(random, world, make, [await make(), await make()])
    await live(days, steps=200)
    _told_once_and_in_time(days)
    _within_limits(world.calls)
    await _every_fate_is_one(days)


def _told_once_and_in_time(days: Days) -> None:
    calls_of: dict[int, list[Call]] = defaultdict(list)
    for call in days.world.calls:
        for number in call.told:
            firing = days.firings[number]
            assert call.user == (firing.partner_id, firing.user_id), "told to somebody else"
            calls_of[number].append(call)
            over_at = days.over[number][0] if number in days.over else call.at
            is_fresh = call.attempt.number == 1 and call.at - firing.fired_at <= FRESH
            assert over_at >= call.at or is_fresh, f"{number} was told when it was over: {call}"
    for number, calls in calls_of.items():
        may_be_told = False
        for before, after in pairwise(calls):
            again = f"{number} was told again\n{before}\n{after}"
            assert before.outcome is not OutcomeKind.ACCEPTED or not before.was_delivered, again
            may_be_told |= before.outcome is OutcomeKind.UNKNOWN
            assert not may_be_told or after.attempt.possible_duplicate, again


def _within_limits(calls: Sequence[Call]) -> None:
    first = [one for one in calls if one.attempt.number == 1]
    hours = Counter((one.user, one.critical, one.at.replace(minute=0, second=0, microsecond=0)) for one in first)
    days = Counter((one.user, one.at.astimezone(CHICAGO).date()) for one in first if not one.critical)
    for (user, critical, hour), count in hours.items():
        assert count <= (30 if critical else PEOPLE[user][0]), f"{user} had {count} in the hour of {hour}"
    for (user, day), count in days.items():
        assert count <= PEOPLE[user][1], f"{user} had {count} on {day}"
    for call in calls:
        assert call.critical or 8 <= call.at.astimezone(CHICAGO).hour < 22, f"at night: {call}"


async def _every_fate_is_one(days: Days) -> None:
    bench = days.replicas[0]
    async with bench.engine.connect() as connection:
        now = bench.clock.now()
        found = await books(connection, BEGINS - timedelta(days=1), now, now)
    assert found.balanced, found
    rows = {
        row.id: row
        for row in await bench.rows("SELECT * FROM deliveries WHERE channel = :channel", channel=days.world.channel)
    }
    of_firing = {row.notification_id: row for row in rows.values() if row.notification_id is not None}
    last = {one.attempt.delivery_id: one for one in days.world.calls}
    fates = Counter[str]()
    for number, firing in days.firings.items():
        row = of_firing[firing.id]
        fates[row.status] += 1
        while row.status == "merged":
            row = rows[row.merged_into]
        if row.status in UNTOLD:
            assert row is of_firing[firing.id], f"{number} went with one that told nobody: {row}"
            is_over = number in days.over or row.reason == "preference_off"
            assert row.status != "suppressed" or is_over, f"{number} was suppressed: {row}"
            continue
        assert row.status == "sent"
        told = last[row.id].told
        assert number in told or _purchase(firing) in {_purchase(days.firings[one]) for one in told}, (
            f"{number} is lost"
        )
    assert fates["merged"] > 20, fates
    assert await _unread(bench) == Counter(UserKey(one.partner_id, one.user_id) for one in days.firings.values())


def _purchase(firing: Firing) -> tuple[int, int, int]:
    assert isinstance(firing.context, TransactionLimitContext)
    return firing.partner_id, firing.user_id, firing.context.purchase_id


async def _unread(bench: Bench) -> dict[UserKey, int]:
    rows = await bench.rows("SELECT partner_id, user_id, count AS unread FROM unread")
    return {UserKey(row.partner_id, row.user_id): row.unread for row in rows}
