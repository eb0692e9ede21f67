"""What a simulation claims at its end is measured in the databases: lost, surplus, quiet, told."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

import nats
import pytest
import pytest_asyncio
from nats.js import JetStreamContext

from tocsin_devstack.fixtures import MakeDatabase
from tocsin_devstack.postgres import SERVICES
from tocsin_devstack.quietness import NotFinished, prove_quiet
from tocsin_devstack.reading import Books, Connection, Databases, reading
from tocsin_devstack.scenario import Kind
from tocsin_kit.messaging.streams import apply_to

BEGINS = datetime(2025, 11, 3, tzinfo=UTC)
NOON, ENDS = BEGINS + timedelta(hours=12), BEGINS + timedelta(days=1)
YESTERDAY = BEGINS - timedelta(hours=1)
SOON = timedelta(milliseconds=50)

_FIRING = """
    INSERT INTO firings (partner_id, id, user_id, alert_id, kind, class, occurrence_key, condition_version, context,
        alert_name, channels, critical, daily_digest, time_zone, locale, profile_version, fired_at)
    VALUES (1, $1, 1, 1, 'goal', 'realtime', 'key', 1, '{}', 'Goal', '{}', false, false, 'UTC', 'en', 1, $2)
"""
_NOTIFICATION = """
    INSERT INTO notifications (partner_id, id, user_id, alert_id, kind, class, critical, daily_digest,
        alert_name, title, message, action_url, metadata, profile_version, time_zone, locale, planned, fired_at,
        created_at, version)
    VALUES (1, $1, 1, 1, 'goal', 'realtime', false, false, 'Goal', 'Title', '', '', '{}', 1, 'UTC', 'en', $3, $2, $2, 1)
"""
_DELIVERY = """
    INSERT INTO deliveries (partner_id, id, notification_id, user_id, channel, class, status, reason, due_at,
        expires_at, created_at, sent_at)
    VALUES (1, $1, $2, 1, $3, 'realtime', $4, $5, $6, $7, $7, $8)
"""
_OUTBOX = "INSERT INTO outbox (class, subject, message_id, created_at) VALUES ('realtime', 's', 'm', $1)"
_JOB = """
    INSERT INTO jobs (id, type, args, class, state, attempt, max_attempts, due_at, created_at, errors, late)
    VALUES ($1, 'evaluate.audit', '{}', 'periodic', $2, 1, 3, $3, $3, '[]', false)
"""
_CALLBACK = """
    INSERT INTO callbacks (id, provider, received_at, url, headers, body, verified, handed_on_at)
    VALUES ($1, 'sendgrid', $2, '/', '{}', '', true, $2)
"""
_TAKEN_IN = "INSERT INTO callbacks (id, provider, received_at, taken_in_at) VALUES ($1, 'sendgrid', $2, $2)"


class Services:
    """The services' databases, written to as they would."""

    def __init__(self, databases: Databases) -> None:
        self.databases = databases
        self._made = 0

    def _id(self) -> UUID:
        self._made += 1
        return UUID(int=self._made)

    async def fires(self, at: datetime = NOON) -> UUID:
        id_ = self._id()
        await self.databases.of["evaluator"].execute(_FIRING, id_, at)
        return id_

    async def notifies(self, firing: UUID | None = None, planned: int = 0, at: datetime = NOON) -> UUID:
        id_ = firing or self._id()
        await self.databases.of["dispatcher"].execute(_NOTIFICATION, id_, at, planned)
        return id_

    async def delivers(
        self, notification: UUID, channel: str, status: str, reason: str | None = None, sent_at: datetime | None = None
    ) -> UUID:
        id_ = self._id()
        due_at = ENDS + timedelta(hours=8) if status in ("held", "sending") else None
        values = (id_, notification, channel, status, reason, due_at, NOON, sent_at)
        await self.databases.of["dispatcher"].execute(_DELIVERY, *values)
        return id_

    async def books(self) -> Books:
        return await self.databases.books(BEGINS, ENDS)


@pytest_asyncio.fixture
async def services(make_database: MakeDatabase) -> AsyncIterator[Services]:
    async with reading({service: await make_database(service) for service in ("evaluator", "dispatcher")}) as databases:
        yield Services(databases)


@pytest_asyncio.fixture
async def everybody(make_database: MakeDatabase) -> AsyncIterator[Services]:
    async with reading({service: await make_database(service) for service in SERVICES}) as databases:
        yield Services(databases)


async def test_books_that_balance_name_every_firing_notification_and_delivery(services: Services) -> None:
    first = await services.notifies(await services.fires(), planned=3)
    second = await services.notifies(await services.fires(), planned=1)
    made = {
        str(await services.delivers(first, "in_app", "sent", sent_at=NOON)),
        str(await services.delivers(first, "email", "delivered", sent_at=NOON)),
        str(await services.delivers(first, "sms", "held", "quiet_hours")),
        str(await services.delivers(second, "in_app", "sent", sent_at=NOON)),
    }
    assert await services.books() == Books(
        firings={kind: 2 if kind is Kind.GOAL else 0 for kind in Kind},
        notifications=2,
        deliveries={"in_app": {"sent": 2}, "email": {"delivered": 1}, "sms": {"held": 1}},
        delivery_ids=frozenset(made),
        lost=0,
        surplus=0,
    )


async def test_a_firing_without_a_notification_is_lost(services: Services) -> None:
    await services.notifies(await services.fires())
    await services.fires()
    books = await services.books()
    assert (books.lost, books.surplus) == (1, 0)


async def test_a_planned_delivery_that_is_not_there_is_lost(services: Services) -> None:
    told = await services.notifies(await services.fires(), planned=3)
    await services.delivers(told, "in_app", "sent", sent_at=NOON)
    await services.delivers(told, "email", "suppressed", "unverified")
    books = await services.books()
    assert (books.lost, books.surplus) == (1, 0)


async def test_another_notifications_surplus_delivery_does_not_make_up_for_a_missing_one(services: Services) -> None:
    await services.notifies(await services.fires(), planned=1)
    other = await services.notifies(await services.fires(), planned=1)
    await services.delivers(other, "in_app", "sent", sent_at=NOON)
    await services.delivers(other, "email", "sent", sent_at=NOON)
    assert (await services.books()).lost == 1


async def test_a_delivery_left_in_the_middle_of_a_call_is_lost(services: Services) -> None:
    told = await services.notifies(await services.fires(), planned=2)
    await services.delivers(told, "in_app", "sent", sent_at=NOON)
    await services.delivers(told, "email", "sending")
    books = await services.books()
    assert (books.lost, books.surplus) == (1, 0)


async def test_a_notification_without_a_firing_is_one_too_many(services: Services) -> None:
    await services.notifies(await services.fires())
    await services.notifies()
    books = await services.books()
    assert (books.lost, books.surplus) == (0, 1)


async def test_what_was_before_the_window_or_comes_after_it_is_not_in_its_books(services: Services) -> None:
    await services.fires(at=YESTERDAY)
    await services.notifies(at=ENDS)
    books = await services.books()
    assert (sum(books.firings.values()), books.notifications, books.lost, books.surplus) == (0, 0, 0, 0)


async def test_what_waited_when_a_day_began_is_told_again_that_day_and_nothing_else_of_before(
    services: Services,
) -> None:
    told = await services.notifies(planned=4, at=YESTERDAY)
    await services.delivers(told, "in_app", "sent", sent_at=YESTERDAY)
    await services.delivers(told, "push", "suppressed", "no_address")
    sent = await services.delivers(told, "email", "delivered", sent_at=NOON)
    ended = await services.delivers(told, "sms", "suppressed", "no_longer_true")
    waiting = frozenset((sent, ended))
    (again,) = await services.databases.told(BEGINS, ENDS, waiting)
    assert {delivery.id for delivery in again.deliveries} == waiting
    (again,) = await services.databases.told(BEGINS, ENDS, frozenset())
    assert {delivery.id for delivery in again.deliveries} == {sent}, "a sent one says itself when that was"


async def test_a_notification_knows_which_of_its_deliveries_wait(services: Services) -> None:
    told = await services.notifies(planned=2)
    await services.delivers(told, "in_app", "sent", sent_at=NOON)
    held = await services.delivers(told, "sms", "held", "quiet_hours")
    (new,) = await services.databases.told(BEGINS, ENDS, frozenset())
    assert list(new.waiting) == [held]


@pytest_asyncio.fixture
async def streams(broker_url: str) -> AsyncIterator[JetStreamContext]:
    await apply_to(broker_url)
    client = await nats.connect(broker_url)
    try:
        yield client.jetstream()
    finally:
        await client.close()


async def _left(everybody: Services, streams: JetStreamContext) -> str:
    with pytest.raises(NotFinished) as left:
        await prove_quiet(everybody.databases, streams, NOON, SOON)
    return str(left.value)


async def test_what_is_finished_or_not_yet_due_is_quiet(everybody: Services, streams: JetStreamContext) -> None:
    told = await everybody.notifies(planned=1)
    await everybody.delivers(told, "sms", "held", "quiet_hours")
    of = everybody.databases.of
    await of["scheduler"].execute(_JOB, UUID(int=100), "succeeded", NOON)
    await of["scheduler"].execute(_JOB, UUID(int=101), "queued", NOON + SOON)
    await of["gateway"].execute(_CALLBACK, UUID(int=102), NOON)
    await of["dispatcher"].execute(_TAKEN_IN, UUID(int=102), NOON)
    await prove_quiet(everybody.databases, streams, NOON, SOON)


async def test_a_row_in_an_outbox_is_not_quiet(everybody: Services, streams: JetStreamContext) -> None:
    for service in SERVICES:
        await everybody.databases.of[service].execute(_OUTBOX, NOON)
    assert await _left(everybody, streams) == ", ".join(f"1 rows in the {service}'s outbox" for service in SERVICES)


async def test_whatever_else_is_under_way_is_named(everybody: Services, streams: JetStreamContext) -> None:
    of = everybody.databases.of
    await of["scheduler"].execute(_JOB, UUID(int=100), "queued", NOON)
    await of["scheduler"].execute(_JOB, UUID(int=101), "running", NOON)
    await of["gateway"].execute(_CALLBACK, UUID(int=102), NOON)
    await everybody.delivers(await everybody.notifies(), "email", "sending")
    await streams.publish("tocsin.profiles", b"")
    assert await _left(everybody, streams) == (
        "2 jobs queued or running, 1 deliveries due or sending, 1 callbacks not taken in, 1 messages in PROFILES"
    )


class _SeenOnce:
    """A database whose outbox empties once somebody has counted its rows."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.looks = 0

    async def fetchval(self, query: str) -> object:
        self.looks += 1
        rows = await self._connection.fetchval(query)
        await self._connection.execute("DELETE FROM outbox")
        return rows


async def test_a_row_whose_acknowledgement_is_on_its_way_is_waited_for(
    everybody: Services, streams: JetStreamContext
) -> None:
    of = everybody.databases.of
    await of["evaluator"].execute(_OUTBOX, NOON)
    evaluator = _SeenOnce(of["evaluator"])
    await prove_quiet(Databases({**of, "evaluator": cast(Connection, evaluator)}), streams, NOON)
    assert evaluator.looks == 2, "there at the first look, gone at the second"
