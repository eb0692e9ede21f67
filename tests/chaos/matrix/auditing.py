"""At the end of a world: everything has come to rest, its books balance, and each cell is judged."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import nats

from tests.chaos.matrix.judging import Verdict, judge
from tests.chaos.matrix.records import Records
from tests.chaos.matrix.rounds import Lived
from tests.chaos.matrix.world import World
from tests.chaos.waiting import until
from tocsin_devstack.quietness import NotFinished, prove_quiet
from tocsin_devstack.reading import reading
from tocsin_kit.clock import SystemClock

_QUIET_WITHIN = timedelta(seconds=60)
_FIRED = "SELECT id FROM firings"
_TOLD = "SELECT id FROM notifications"
_UNPLANNED = """
SELECT n.id FROM notifications n LEFT JOIN deliveries d ON d.partner_id = n.partner_id AND d.notification_id = n.id
 GROUP BY n.partner_id, n.id HAVING count(d.id) <> n.planned
"""
_DEAD_LETTERS = "SELECT id FROM dead_letters"
_PAST_LEASE = "SELECT id FROM deliveries WHERE status = 'sending' AND coalesce(leased_until, $1) <= $1"


@dataclass(frozen=True)
class Audited:
    """The cells' verdicts; what is lost beside them, and what went otherwise than it should."""

    verdicts: tuple[Verdict, ...]
    lost: tuple[str, ...]
    wrong: tuple[str, ...]


async def audit(world: World, lived: Sequence[Lived]) -> Audited:
    """Wait until the world is quiet, then judge all that was lived through in it."""
    wrong = [f"{person.cell}: its work was not at that step" for one in lived for person in one.missed]
    wrong += [one.unended for one in lived if one.unended]
    wrong += [f"the {name} ended by itself" for name in world.processes.ended()]
    wrong += [f"not well made: {refusal}" for refusal in await world.simulators.refused()]
    try:
        await until("quiet", lambda: _quiet(world), limit=_QUIET_WITHIN)
    except AssertionError as waited:
        wrong.append(str(waited))
    people = [person for one in lived for person in one.people]
    records, now = await world.records.of(people), SystemClock().now()
    verdicts = tuple(judge(person.cell, record, now) for person, record in records.items())
    return Audited(verdicts, tuple(await _lost(world.records)), (*wrong, *_unbalanced(world)))


async def _quiet(world: World) -> object:
    client = await nats.connect(world.nats.url)
    try:
        async with reading(world.records.urls) as databases:
            await prove_quiet(databases, client.jetstream(), SystemClock().now())
    except NotFinished as unfinished:
        return str(unfinished)
    finally:
        await client.close()
    return True


async def _lost(records: Records) -> list[str]:
    """Of the whole world, not of its cells alone: what fired and is told to nobody, what was planned and is not there,
    what the dispatcher gave up reading, what is in no living worker's hands."""
    fired = {row["id"] for row in await records.rows("evaluator", _FIRED)}
    told = {row["id"] for row in await records.rows("dispatcher", _TOLD)}
    now = SystemClock().now()
    return [
        *(f"firing {id_} has no notification" for id_ in fired - told),
        *(f"notification {row['id']} misses deliveries" for row in await records.rows("dispatcher", _UNPLANNED)),
        *(f"dead letter {row['id']}" for row in await records.rows("dispatcher", _DEAD_LETTERS)),
        *(f"delivery {row['id']} is past its lease" for row in await records.rows("dispatcher", _PAST_LEASE, now)),
    ]


def _unbalanced(world: World) -> list[str]:
    """What `tocsin audit` complains of."""
    try:
        said = world.processes.audit()
    except AssertionError as complaint:
        return [f"tocsin audit: {complaint}"]
    return [] if "gap 0" in said else [f"tocsin audit: {said}"]
