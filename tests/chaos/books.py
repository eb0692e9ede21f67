"""What is in hand at an instant, and what must hold when all is quiet again."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from tests.chaos.busy_day import HOUSEHOLDS, household_of
from tests.chaos.providers import Call
from tests.chaos.suite import Suite
from tocsin_devstack.faults import Provider
from tocsin_devstack.quietness import NotFinished, prove_quiet
from tocsin_devstack.reading import ENDED
from tocsin_devstack.scenario import Kind
from tocsin_kit.clock import SystemClock


@dataclass(frozen=True)
class InDoubt:
    """A delivery whose call has begun, and of which nobody here knows what came of it."""

    delivery: str
    channel: str
    destination: str


async def in_doubt(suite: Suite) -> list[InDoubt]:
    """The deliveries during their call, and those that may have arrived and are not known to."""
    rows = await suite.databases.of["dispatcher"].fetch(
        "SELECT id, channel, destination FROM deliveries"
        " WHERE status IN ('sending', 'unknown') OR status = 'retrying' AND possible_duplicate"
    )
    return [InDoubt(str(row["id"]), row["channel"], row["destination"]) for row in rows]


async def jobs_under_way(suite: Suite) -> dict[str, int]:
    """How many jobs there are in each state other than done; a dead one is not done."""
    rows = await suite.databases.of["scheduler"].fetch(
        "SELECT state, count(*) AS many FROM jobs WHERE state <> 'succeeded' GROUP BY state"
    )
    return {row["state"]: row["many"] for row in rows}


async def quiet(suite: Suite) -> object:
    """True when nothing is under way anywhere, and what the providers told before that has been taken in."""
    if left := await _under_way(suite):
        return left
    told = await suite.providers.events_taken()
    try:
        await prove_quiet(suite.databases, suite.streams, SystemClock().now())
    except NotFinished as unfinished:
        return str(unfinished)
    # A message from the broker may just have begun something anew.
    return await _under_way(suite) or told == await suite.providers.events_taken() or "more has been told"


async def _under_way(suite: Suite) -> str:
    """What has not ended; empty when all has."""
    deliveries = {state: many for state, many in (await _deliveries(suite)).items() if state not in (*ENDED, "held")}
    jobs = await jobs_under_way(suite)
    if deliveries or jobs:
        return f"deliveries {deliveries}, jobs {jobs}"
    events = await suite.providers.events_outstanding()
    return f"{events} events to be told" if events else ""


async def _deliveries(suite: Suite) -> Counter[str]:
    rows = await suite.databases.of["dispatcher"].fetch("SELECT status, count(*) AS many FROM deliveries GROUP BY 1")
    return Counter({row["status"]: row["many"] for row in rows})


async def check_nothing_is_lost(suite: Suite, jobs: Collection[str]) -> None:
    """The same fired for all households, every firing is told once, every planned delivery has ended or is held for a
    reason, the providers say the same, and each of the `jobs` that were asked for is done."""
    await _check_households_are_alike(suite)
    await _check_firings_are_told(suite)
    await _check_deliveries_ended(suite)
    await _check_providers_agree(suite)
    done = await suite.databases.of["scheduler"].fetch("SELECT id::text AS id FROM jobs WHERE state = 'succeeded'")
    assert set(jobs) - {row["id"] for row in done} == set()
    assert "gap 0" in suite.processes.audit()


async def _check_firings_are_told(suite: Suite) -> None:
    fired = await suite.databases.of["evaluator"].fetch("SELECT id, kind FROM firings")
    told = await suite.databases.of["dispatcher"].fetch("SELECT id FROM notifications")
    assert {row["id"] for row in fired} ^ {row["id"] for row in told} == set()
    assert {row["kind"] for row in fired} == set(Kind), "the day has something to say for each kind"
    assert await suite.databases.of["dispatcher"].fetch("SELECT id, error FROM dead_letters") == []


async def _check_deliveries_ended(suite: Suite) -> None:
    dispatcher = suite.databases.of["dispatcher"]
    unplanned = await dispatcher.fetch(
        "SELECT n.id, n.planned, count(d.id) AS there FROM notifications n"
        " LEFT JOIN deliveries d ON d.partner_id = n.partner_id AND d.notification_id = n.id"
        " GROUP BY n.partner_id, n.id HAVING count(d.id) <> n.planned"
    )
    assert unplanned == []
    waiting = await dispatcher.fetch(
        "SELECT channel, status, reason, due_at FROM deliveries"
        " WHERE status <> ALL($1) AND (status <> 'held' OR reason IS NULL)",
        ENDED,
    )
    assert waiting == []


async def _check_households_are_alike(suite: Suite) -> None:
    """All lived through the same day, so the same alerts fired as often."""
    rows = await suite.databases.of["evaluator"].fetch(
        "SELECT f.user_id, a.name FROM firings f JOIN alerts a ON a.partner_id = f.partner_id AND a.id = f.alert_id"
    )
    fired: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for row in rows:
        fired[household_of(row["user_id"])][row["name"]] += 1
    assert len(fired) == HOUSEHOLDS
    usual = max(fired.values(), key=list(fired.values()).count)
    assert {number: counts for number, counts in fired.items() if counts != usual} == {}, f"usual: {usual}"


async def _check_providers_agree(suite: Suite) -> None:
    """What says that it left is known to the provider, and what the provider told of has arrived."""
    rows = await suite.databases.of["dispatcher"].fetch(
        "SELECT id, status, destination FROM deliveries"
        " WHERE channel <> 'in_app' AND status IN ('sent', 'delivered', 'failed', 'expired', 'bounced')"
    )
    ended = {str(row["id"]): row["status"] for row in rows}
    wanted = {str(row["id"]): "sent" if row["destination"] in suite.providers.mute else "delivered" for row in rows}
    assert {id_: status for id_, status in ended.items() if status != wanted[id_]} == {}
    taken = {call.delivery for call in await suite.providers.taken()}
    assert ended.keys() - taken == set(), "said to have left, and no provider had them"
    assert taken - ended.keys() == set(), "a provider had them, and they are not said to have left"
    for provider in Provider:
        assert (await suite.providers.account(provider)).refused == ()


async def repeats(suite: Suite) -> set[tuple[str, int]]:
    """(Delivery, attempt) of what the providers took beyond one message a delivery; each must be marked as such."""
    beyond = set(_beyond_the_first(await suite.providers.taken()))
    assert beyond <= await marked(suite), "a message was sent twice and the books do not say so"
    return beyond


def _beyond_the_first(taken: Iterable[Call]) -> list[tuple[str, int]]:
    seen: set[str] = set()
    beyond = []
    for call in taken:
        if call.delivery in seen:
            beyond.append((call.delivery, call.attempt))
        seen.add(call.delivery)
    return beyond


async def marked(suite: Suite) -> set[tuple[str, int]]:
    """(Delivery, attempt) of the attempts that may be repeats, as the books say."""
    rows = await suite.databases.of["dispatcher"].fetch(
        "SELECT delivery_id, number FROM attempts WHERE possible_duplicate"
    )
    return {(str(row["delivery_id"]), row["number"]) for row in rows}
