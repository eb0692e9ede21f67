"""Deliveries with addresses of their own: each endpoint has its share of the slots, and a breaker of its own."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from tocsin_dispatcher.breakers import BreakerKey
from tocsin_dispatcher.delivering.way import Sent
from tocsin_dispatcher.destinations.reading import ReadEndpoints
from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.store.breaker_rows import read_board
from tocsin_dispatcher.store.claims import SLOTS_OF_ONE
from tocsin_dispatcher.store.own_addresses import addresses_of
from tocsin_dispatcher.store.retention import forget
from tocsin_dispatcher.values import (
    AlertKind,
    Attempt,
    Channel,
    EndpointTaking,
    Notification,
    Outcome,
    OutcomeKind,
    Recipient,
    WorkClass,
)

from .bench import Bench, ScriptedWay
from .conftest import MakeBench

DEAD, HEALTHY, OTHER = (UUID(int=number) for number in (1, 2, 3))
DOWN = Outcome(OutcomeKind.TRANSIENT, status=500, answer="HTTP 500")
GONE = Outcome(OutcomeKind.PERMANENT, status=410, suppress=SuppressionCause.DISABLED)


@dataclass
class Endpoints(ScriptedWay):
    """Webhooks: calls to `silent` never end, those to `answers_of` end so; all others are taken."""

    channel: Channel = Channel.WEBHOOK
    silent: UUID | None = None
    answers_of: dict[UUID, Outcome] = field(default_factory=dict)
    to: list[UUID] = field(default_factory=list)
    under_way: Counter[UUID] = field(default_factory=Counter)
    most: Counter[UUID] = field(default_factory=Counter)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.read = ReadEndpoints(lambda user, notification: b"{}")

    async def send(
        self, key: BreakerKey, attempt: Attempt, notification: Notification, recipient: Recipient, now: datetime
    ) -> Sent:
        assert recipient.destination is not None
        id_ = recipient.destination.id
        self.to.append(id_)
        self.under_way[id_] += 1
        self.most[id_] = max(self.most[id_], self.under_way[id_])
        self.begun.release()
        if id_ == self.silent:
            await self.hung_up.wait()
        self.under_way[id_] -= 1
        return Sent(self.answers_of.get(id_, Outcome(OutcomeKind.ACCEPTED)))


async def added(bench: Bench, *ids: UUID, user_id: int | None = None, kinds: Sequence[AlertKind] = ()) -> None:
    """Endpoints of the bank, or of a user."""
    for id_ in ids:
        await bench.execute(
            "INSERT INTO webhook_endpoints (partner_id, id, user_id, url, shown, name, kinds, created_at)"
            " VALUES (1, :id, :user_id, 'https://hook.example/1', 'hook.example', '', CAST(:kinds AS text[]), :at)",
            id=id_,
            user_id=user_id,
            kinds=list(kinds),
            at=bench.clock.now(),
        )


async def fates(bench: Bench, id_: UUID) -> dict[tuple[str, str | None], int]:
    """The deliveries to an endpoint by state and reason."""
    rows = await bench.rows(
        "SELECT status, reason, count(*) AS many FROM deliveries WHERE destination_id = :id GROUP BY 1, 2", id=id_
    )
    return {(row.status, row.reason): row.many for row in rows}


@pytest.mark.parametrize("work_class", [WorkClass.REALTIME, WorkClass.PERIODIC])
async def test_an_endpoint_that_hangs_has_four_slots_and_the_others_all_the_rest(
    benches: MakeBench, work_class: WorkClass
) -> None:
    way = Endpoints(silent=DEAD)
    bench = await benches(way, slots=12)
    await added(bench, DEAD)
    flood = [bench.firing(work_class=work_class, channels=()) for _ in range(60)]
    await bench.intake.take_in(flood)  # its backlog alone is longer than any round looks ahead
    await added(bench, HEALTHY)
    bench.clock.advance(timedelta(seconds=1))
    await bench.intake.take_in([bench.firing(work_class=work_class, channels=()) for _ in range(30)])
    part = asyncio.create_task(bench.lane.run(bench.stopping))
    async with asyncio.timeout(20):
        for _ in range(SLOTS_OF_ONE + 30):
            await way.begun.acquire()
    assert Counter(way.to) == {DEAD: SLOTS_OF_ONE, HEALTHY: 30}
    way.hung_up.set()
    await bench.quiet()
    assert way.most[DEAD] == SLOTS_OF_ONE
    assert way.most[HEALTHY] <= SLOTS_OF_ONE
    assert Counter(way.to) == {DEAD: 90, HEALTHY: 30}, "none is forgotten"
    bench.stopping.set()
    await part


async def test_one_endpoint_s_breaker_opens_for_it_alone(benches: MakeBench) -> None:
    way = Endpoints(answers_of={DEAD: DOWN})
    bench = await benches(way)
    await added(bench, DEAD, HEALTHY)
    await bench.intake.take_in([bench.firing(channels=()) for _ in range(40)])
    async with bench.working():
        assert await fates(bench, HEALTHY) == {("sent", None): 40}
        states = await bench.rows("SELECT provider, subject, state FROM breakers")
        assert [tuple(row) for row in states] == [("own", str(DEAD), "open")]
        tried = way.to.count(DEAD)
        assert 5 <= tried < 5 + SLOTS_OF_ONE
        waiting = await fates(bench, DEAD)
        assert waiting[("pending", "breaker_open")] == 40 - tried
        failures = await bench.rows("SELECT max(failures) AS most FROM deliveries WHERE status = 'pending'")
        assert failures[0].most == 0, "who waits for a breaker burns no retry"

        way.answers_of.clear()
        while (await fates(bench, DEAD)).get(("sent", None), 0) < 40:
            await bench.step()
    assert [row.state for row in await bench.rows("SELECT state FROM breakers")] == ["closed"]


async def test_what_waits_for_an_open_breaker_is_put_off_in_one_go(benches: MakeBench) -> None:
    """Not four by four: a long backlog would be written about all the time."""
    way = Endpoints(answers_of={DEAD: DOWN})
    bench = await benches(way, slots=200)
    await added(bench, DEAD)
    for _ in range(4):
        await bench.intake.take_in([bench.firing(channels=()) for _ in range(100)])
    async with bench.working():
        transactions = await bench.rows(
            "SELECT DISTINCT xmin::text FROM deliveries WHERE channel = 'webhook' AND reason = 'breaker_open'"
        )
        waiting = (await fates(bench, DEAD))[("pending", "breaker_open")]
    assert waiting > 380
    assert len(transactions) < 10


async def test_an_endpoint_that_asks_for_no_more_is_disabled_and_no_address_is_suppressed(benches: MakeBench) -> None:
    way = Endpoints(answers_of={DEAD: GONE})
    bench = await benches(way)
    await added(bench, DEAD, HEALTHY)
    await bench.intake.take_in([bench.firing(channels=()) for _ in range(2)])
    async with bench.working():
        await bench.intake.take_in([bench.firing(channels=())])
        await bench.quiet()
    assert await fates(bench, DEAD) == {("failed", None): 2, ("suppressed", "suppressed_disabled"): 1}
    assert await fates(bench, HEALTHY) == {("sent", None): 3}
    assert await bench.rows("SELECT * FROM suppressions") == []
    disabled = await bench.rows("SELECT id FROM webhook_endpoints WHERE disabled_at IS NOT NULL")
    assert [row.id for row in disabled] == [DEAD]


async def test_an_endpoint_removed_while_a_webhook_waits_gets_nothing(benches: MakeBench) -> None:
    way = Endpoints(answers_of={DEAD: DOWN})
    bench = await benches(way)
    await added(bench, DEAD)
    await bench.intake.take_in([bench.firing(channels=())])
    async with bench.working():
        await bench.execute("DELETE FROM webhook_endpoints")
        await bench.step()
    assert await fates(bench, DEAD) == {("suppressed", "no_address"): 1}
    assert way.to == [DEAD]


async def test_a_user_has_their_own_addresses_and_those_of_their_bank_in_order(benches: MakeBench) -> None:
    bench = await benches(Endpoints())
    await added(bench, OTHER, kinds=[AlertKind.GOAL])
    await added(bench, HEALTHY, user_id=1)
    await added(bench, DEAD, user_id=2)
    browsers = [bench.ids.uuid7() for _ in range(2)]
    for place, id_ in enumerate(browsers):
        bench.clock.advance(timedelta(seconds=1))
        await bench.execute(
            "INSERT INTO push_subscriptions (partner_id, id, user_id, name, service, endpoint_hash, sealed, created_at)"
            " VALUES (1, :id, 1, '', 'push.example', CAST(:hash AS bytea), '', :at)",
            id=id_,
            hash=bytes([place]),
            at=bench.clock.now(),
        )
    async with bench.engine.connect() as connection:
        found = await addresses_of(connection, [UserKey(1, 1), UserKey(1, 3), UserKey(2, 1)])
    bank = EndpointTaking(OTHER, True, frozenset({AlertKind.GOAL}), False)
    own = EndpointTaking(HEALTHY, False, frozenset(), False)
    assert (found[UserKey(1, 1)].push, found[UserKey(1, 1)].webhooks) == (tuple(browsers), (own, bank))
    assert (found[UserKey(1, 3)].push, found[UserKey(1, 3)].webhooks) == ((), (bank,))
    assert (found[UserKey(2, 1)].push, found[UserKey(2, 1)].webhooks) == ((), ())


async def test_breakers_that_are_closed_and_known_are_not_read_again_and_again(benches: MakeBench) -> None:
    """There is one for every endpoint that ever failed."""
    bench = await benches(Endpoints(answers_of={DEAD: DOWN}))
    await added(bench, DEAD)
    await bench.intake.take_in([bench.firing(channels=())])
    async with bench.working():
        pass
    now = bench.clock.now()
    async with bench.engine.connect() as connection:
        assert await read_board(connection, [], now) == {}, "it failed once, and is closed"
        asked = await read_board(connection, [BreakerKey("own", str(DEAD))], now)
        assert [key.credential for key in asked] == [str(DEAD)], "who takes it for open hears that it is not"


async def test_a_secret_that_signs_no_longer_is_forgotten(benches: MakeBench) -> None:
    bench = await benches(Endpoints())
    await added(bench, HEALTHY)
    now = bench.clock.now()
    for until in (None, now + timedelta(hours=1), now - timedelta(hours=1)):
        await bench.execute(
            "INSERT INTO webhook_secrets (partner_id, endpoint_id, id, sealed, created_at, valid_until)"
            " VALUES (1, :endpoint, :id, '', :at, CAST(:until AS timestamptz))",
            endpoint=HEALTHY,
            id=bench.ids.uuid7(),
            at=now,
            until=until,
        )
    async with bench.engine.begin() as connection:
        await forget(connection, "webhook_secrets", now)
    left = await bench.rows("SELECT valid_until FROM webhook_secrets ORDER BY valid_until")
    assert [row.valid_until for row in left] == [now + timedelta(hours=1), None]


async def test_breakers_that_are_closed_for_long_are_forgotten_and_open_ones_stay(benches: MakeBench) -> None:
    bench = await benches(Endpoints(answers_of={DEAD: DOWN, OTHER: DOWN}))
    await added(bench, DEAD)
    await bench.intake.take_in([bench.firing(channels=()) for _ in range(5)])
    async with bench.working():
        await added(bench, OTHER)
        await bench.execute("DELETE FROM webhook_endpoints WHERE id = :id", id=DEAD)
        await bench.intake.take_in([bench.firing(channels=())])
        await bench.quiet()
    async with bench.engine.begin() as connection:
        await forget(connection, "breakers", bench.clock.now() + timedelta(days=1))
    left = await bench.rows("SELECT subject, state FROM breakers")
    assert [tuple(row) for row in left] == [(str(DEAD), "open")]
