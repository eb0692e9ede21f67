"""NATS dies and loses everything it stored, with messages of every kind on their way. `tocsin migrate` makes the
streams anew, the services are started again, and their ledgers find what is missing and have it sent again."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from subprocess import run

import nats
import pytest

from tests.chaos.matrix.cells import Answer, Blow, Cell, Step, Way
from tests.chaos.matrix.judging import fate_of, judge
from tests.chaos.matrix.people import Person
from tests.chaos.matrix.world import World, ways_of, world
from tests.chaos.suite import SERVICES
from tests.chaos.waiting import AT_ONCE, until
from tocsin_devstack.fixtures import own_folder
from tocsin_kit.clock import SystemClock

pytestmark = pytest.mark.timeout(300)

#: Audits compare minutes older than two, and ask for profiles of that age and for callbacks handed on five minutes ago:
#: for all of them six pass at once.
_LET_SIX_MINUTES_PASS = (
    ("evaluator", "UPDATE firings SET fired_at = fired_at - interval '6 minutes'"),
    ("evaluator", "UPDATE profile_copies SET at = at - interval '6 minutes'"),
    ("dispatcher", "UPDATE notifications SET fired_at = fired_at - interval '6 minutes'"),
    ("gateway", "UPDATE callbacks SET handed_on_at = handed_on_at - interval '6 minutes'"),
)
#: From one audit to the next.
_LET_FIVE_MINUTES_PASS = "UPDATE deliveries SET due_at = due_at - interval '5 minutes' WHERE status = 'held'"
_DUE = "SELECT count(*) FROM deliveries WHERE due_at <= $1"
_OUTBOX = "SELECT count(*) FROM outbox"
_STATE = "SELECT state FROM jobs WHERE id = $1::uuid"
_CALLBACKS = "SELECT count(*) FROM callbacks"
_CONTACTS = "SELECT count(*) FROM contacts WHERE user_id = ANY($1::bigint[])"


@pytest.fixture
async def here() -> AsyncIterator[World]:
    """A world in which e-mail leaves by SendGrid."""
    with own_folder() as folder:
        async with world(folder, Way.SENDGRID, asyncio.Lock()) as started:
            yield started


def people_of(first: int, ways: Sequence[Way]) -> list[Person]:
    """Two for each way."""
    numbered = enumerate((*ways, *ways), first)
    return [Person(Cell(number, way, Answer.OK, Step.NOWHERE, Blow.KILL_NATS)) for number, way in numbered]


#: To the first a message has left, and the provider's callbacks are lost; the next are known, and what fired is lost;
#: of the last (who have no browser or endpoint yet) the profiles are lost too.
TOLD_OF = people_of(1, (Way.SENDGRID, Way.SMS))
KNOWN = people_of(11, ways_of(Way.SENDGRID, frozenset(Way)))
NEW = people_of(31, (Way.SENDGRID, Way.SMS))
EVERYBODY = (*TOLD_OF, *KNOWN, *NEW)


async def test_a_broker_that_loses_all_streams_loses_nobody_s_messages(here: World) -> None:
    await here.people.introduce([*TOLD_OF, *KNOWN])
    await until("everybody known", partial(_known, here, [*TOLD_OF, *KNOWN]))
    job = await _fill_the_streams(here)
    lost = await _messages(here)
    assert lost["FIRINGS"] == len(KNOWN) + len(NEW)
    assert lost["PROFILES"] >= len(NEW)
    assert lost["RECEIPTS"] >= 1
    assert lost["JOBS"] >= 1

    here.nats.kill()
    here.nats.wipe()
    _migrate(here)
    for service in SERVICES:
        here.processes.start(service)
    await asyncio.gather(*(here.wait_ready(service) for service in SERVICES))
    left = await _messages(here)
    assert [left[stream] for stream in ("FIRINGS", "PROFILES", "RECEIPTS")] == [0, 0, 0], "nothing comes back by itself"

    for service, passing in _LET_SIX_MINUTES_PASS:
        await here.records.rows(service, passing)
    # Profiles that differ may be on their way: they are asked for when they differ a second time.
    for audit in ("dispatch-audit", "dispatch-audit", "gateway-audit"):
        await until(audit, partial(_done, here, await here.callers.run_schedule(audit)))
        await until("what fired told", partial(_told_of, here))
        await here.records.rows("dispatcher", _LET_FIVE_MINUTES_PASS)
        await until("nothing due", partial(_nothing_due, here))
    await until("everybody's message", partial(_all_arrived, here))
    await until("the job that was lost", partial(_done, here, job))

    now = SystemClock().now()
    for person, record in (await here.records.of(EVERYBODY)).items():
        verdict = judge(person.cell, record, now)
        assert verdict.is_good, f"{person.cell}: {verdict}"
        assert verdict.repeats == 0
    assert "gap 0" in here.processes.audit()


async def _fill_the_streams(here: World) -> str:
    """Have something in each stream that nobody takes: receivers are killed before. A job's id."""
    await here.people.spend(TOLD_OF)
    await until("their messages", partial(_left, here, TOLD_OF), every=AT_ONCE)
    here.processes.kill_nine("dispatcher")
    await here.people.introduce(NEW)
    await here.people.spend([*KNOWN, *NEW])
    await until("callbacks", partial(_told, here))
    await until("the evaluator's outbox sent", partial(_sent, here, "evaluator"))
    here.processes.kill_nine("evaluator")
    job = await here.callers.evaluate_user(KNOWN[0].user_id)
    for service in ("scheduler", "gateway"):
        await until(f"the {service}'s outbox sent", partial(_sent, here, service))
        here.processes.kill_nine(service)
    return job


async def _messages(here: World) -> dict[str, int]:
    """How many messages each stream of work holds."""
    client = await nats.connect(here.nats.url)
    try:
        streams = await client.jetstream().streams_info()
        return {info.config.name or "": info.state.messages for info in streams if info.config.max_age == 0}
    finally:
        await client.close()


def _migrate(here: World) -> None:
    """`tocsin migrate`, as after a disaster: databases are as they should be, streams are made."""
    named = {f"TOCSIN_{service.upper()}_DATABASE_URL": url for service, url in here.records.urls.items()}
    command: list[str | Path] = [Path(sys.executable).with_name("tocsin"), "migrate"]
    done = run(command, env={"NATS_URL": here.nats.url, **named}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


async def _known(here: World, people: Sequence[Person]) -> object:
    [row] = await here.records.rows("dispatcher", _CONTACTS, [person.user_id for person in people])
    return row[0] == len(people) or f"{row[0]} of {len(people)}"


async def _left(here: World, people: Sequence[Person]) -> object:
    records = await here.records.of(people)
    fates = [fate_of(record.delivery(person.cell.way.channel)) for person, record in records.items()]
    return set(fates) == {"sent"} or fates


async def _told(here: World) -> object:
    """Whether the providers have told all they had to: each message has left, and arrived."""
    [row] = await here.records.rows("gateway", _CALLBACKS)
    [outbox] = await here.records.rows("gateway", _OUTBOX)
    return (row[0] >= len(TOLD_OF) and outbox[0] == 0) or f"{row[0]} callbacks"


async def _sent(here: World, service: str) -> object:
    [row] = await here.records.rows(service, _OUTBOX)
    return row[0] == 0 or f"{row[0]} messages wait"


async def _told_of(here: World) -> object:
    records = await here.records.of(EVERYBODY)
    return all(record.fired == record.told for record in records.values()) or "not all"


async def _nothing_due(here: World) -> object:
    [row] = await here.records.rows("dispatcher", _DUE, SystemClock().now())
    return row[0] == 0 or f"{row[0]} are due"


async def _done(here: World, job: str) -> object:
    [row] = await here.records.rows("scheduler", _STATE, job)
    return row["state"] == "succeeded" or row["state"]


async def _all_arrived(here: World) -> object:
    """Whether each message has left, and where providers call back has arrived."""
    wanted = {"email": "delivered", "sms": "delivered", "push": "sent", "webhook": "sent"}
    records = await here.records.of(EVERYBODY)
    states = {person: record.delivery(person.cell.way.channel) for person, record in records.items()}
    left = {
        str(person.cell): None if delivery is None else replace(delivery, id="")
        for person, delivery in states.items()
        if delivery is None or delivery.status != wanted[delivery.channel]
    }
    return left if left else True
