"""What a suite has in hand: a provider, tables filled with what a bank's day would have left, CPU that was used."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import asyncpg

from tests.load.dispatcher.provider import MAIL, Call
from tests.load.measures import Measure
from tests.load.rig import Rig, child
from tocsin_devstack.nats import free_port

PATIENCE = 900.0
_LOOK_EVERY = 0.1
_TICKS = os.sysconf("SC_CLK_TCK")

Connection = asyncpg.Connection

_PEOPLE = """
INSERT INTO contacts (partner_id, user_id, email, email_verified_at, locale, time_zone, version)
SELECT 1, n, 'u' || n || '@bench.example', $1, 'en-US', 'America/Chicago', 1 FROM generate_series(1, $2::bigint) n
"""
# A notification each, as a sweep's firing leaves it, and its delivery on a channel, to the user's endpoint if it has.
_TOLD = """
WITH told AS (
  INSERT INTO notifications (partner_id, id, user_id, alert_id, kind, class, critical, daily_digest, alert_name, title,
                             message, action_url, metadata, profile_version, time_zone, locale, planned, fired_at,
                             created_at, version)
  SELECT 1, uuidv7(), $5::bigint + (n - 1) % $3::bigint + 1, n, 'account_threshold', 'periodic', false, false,
         'Balance is low', 'Low balance', 'Your account is below 500.00', '/accounts/1',
         jsonb_build_object('account_id', n, 'account', 'Checking', 'balance', '100.00', 'threshold', '500.00',
                            'currency', 'USD', 'direction', 'below', 'as_of', $1::timestamptz),
         1, 'America/Chicago', 'en-US', 1, $1 + $7::interval, $1, n
    FROM generate_series(1, $2::bigint) n
  RETURNING id, user_id
)
INSERT INTO deliveries (partner_id, id, notification_id, user_id, channel, destination_id, class, status, due_at,
                        expires_at, created_at, sent_at, fact_key)
SELECT 1, uuidv7(), t.id, t.user_id, $4, e.id, 'periodic', CASE WHEN $6 THEN 'sent' ELSE 'pending' END,
       CASE WHEN NOT $6 THEN $1 END, $1 + interval '24 hours', $1, CASE WHEN $6 THEN $1 END,
       CASE WHEN $6 THEN 'past ' || t.id END
  FROM told t LEFT JOIN webhook_endpoints e ON $4 = 'webhook' AND e.partner_id = 1 AND e.user_id = t.user_id
"""
_ATTEMPTS = """
INSERT INTO attempts (partner_id, delivery_id, number, provider, credential, started_at, finished_at, outcome,
                      status_code, possible_duplicate)
SELECT partner_id, id, 1, 'sendgrid', 'bench', sent_at, sent_at, 'accepted', 202, false
  FROM deliveries WHERE sent_at IS NOT NULL
"""
_COUNTERS = """
INSERT INTO counters (partner_id, user_id, channel, hour, hour_count, hour_critical, day, day_count)
SELECT 1, n, 'email', date_trunc('hour', $1::timestamptz), 1, 0, $1::timestamptz::date, 1
  FROM generate_series(1, $2::bigint) n
"""
_INBOXES = """
INSERT INTO unread (partner_id, user_id, count, version)
SELECT partner_id, user_id, count(*), max(version) FROM notifications GROUP BY partner_id, user_id
"""
_WAITS = "SELECT EXISTS (SELECT FROM deliveries WHERE channel = $1 AND due_at IS NOT NULL)"
_UNSENT = """
SELECT status, reason, error, count(*) FROM deliveries WHERE channel = $1 AND status <> 'sent' GROUP BY 1, 2, 3
"""


@dataclass(frozen=True)
class Provider:
    """The bare provider's process."""

    url: str
    pid: int
    http: aiohttp.ClientSession

    async def calls(self, since: int = 0) -> list[Call]:
        """Who was called when, from the `since`th call on."""
        async with self.http.get(f"{self.url}/calls?from={since}") as answer:
            listed: list[list[object]] = await answer.json(content_type=None)
        return [(str(who), float(str(when))) for who, when in listed]

    async def post(self, who: str) -> None:
        """A bare call, of the weight of an e-mail that the dispatcher sends."""
        body = {"personalizations": [{"to": [{"email": who}]}], "content": "x" * 4000}
        async with self.http.post(self.url + MAIL, json=body) as answer:
            if answer.status != 202:
                raise RuntimeError(f"the provider answered {answer.status}")

    async def until(self, enough: Callable[[list[Call]], bool]) -> list[Call]:
        """All calls, once they are enough."""
        calls: list[Call] = []
        async with asyncio.timeout(PATIENCE):
            while not enough(calls):
                await a_moment()
                calls += await self.calls(len(calls))
        return calls


@asynccontextmanager
async def providing(servers: Rig) -> AsyncIterator[Provider]:
    """A provider in a process of its own, with as many connections as are wanted."""
    port = free_port()
    command = [sys.executable, "-m", "tests.load.dispatcher.provider", str(port)]
    with child(command, servers.folder / f"provider-{port}.log", {"PYTHONPATH": "."}) as process:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            provider = Provider(f"http://127.0.0.1:{port}", process.pid, http)
            await _listening(provider)
            yield provider


async def _listening(provider: Provider) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await provider.calls()
            except aiohttp.ClientConnectionError:
                await a_moment()
            else:
                return


async def fill_people(database: Connection, users: int) -> None:
    """Users 1 to `users`, each with an e-mail address that the bank vouches for."""
    await database.execute(_PEOPLE, _now(), users)


async def fill_pending(
    database: Connection,
    deliveries: int,
    users: int,
    channel: str,
    *,
    after: int = 0,
    ahead: timedelta = timedelta(),
) -> None:
    """So many firings of the `users` that follow user `after`, in turn, each with a delivery that is due now.

    A minute after its firing the evaluator is asked whether it is true still. It knows nothing of these, and they would
    be suppressed: what takes longer than that to leave has fired so much `ahead` of now.
    """
    await database.execute(_TOLD, _now(), deliveries, users, channel, after, False, ahead)


async def fill_sent(database: Connection, emails: int, users: int) -> None:
    """So many e-mails that left yesterday, with what is kept of each.

    Sessions that meet empty tables plan to read them whole, and keep those plans for a long time: what a bank sees in
    its first minutes is not what is measured.
    """
    yesterday = _now() - timedelta(days=1)
    await database.execute(_TOLD, yesterday, emails, users, "email", 0, True, timedelta())
    await database.execute(_ATTEMPTS)
    await database.execute(_INBOXES)
    await database.execute(_COUNTERS, yesterday, users)


async def settle(database: Connection) -> None:
    """What was filled in counts as it would after a day: statistics are there, pages are written."""
    await database.execute("VACUUM ANALYZE")
    await database.execute("CHECKPOINT")


async def all_sent(database: Connection, channel: str) -> None:
    """Return when nothing waits on a channel; whatever did not end well is an error."""
    async with asyncio.timeout(PATIENCE):
        while await database.fetchval(_WAITS, channel):
            await a_moment()
    unsent = await database.fetch(_UNSENT, channel)
    if unsent:
        raise RuntimeError(f"not everything was sent: {[tuple(row) for row in unsent]}")


async def a_moment(seconds: float = _LOOK_EVERY) -> None:
    """Between two looks: a bench looks on from outside, in real time."""
    await asyncio.sleep(seconds)  # noqa: TID251 - a bench looks on in real time


async def at_pace(per_s: float, calls: int, call: Callable[[int], Awaitable[None]]) -> dict[int, float]:
    """Begin calls 1 to `calls` at a steady pace, however long each lasts; answers when each was begun."""
    clock = asyncio.get_running_loop().time
    started, begun = clock(), dict[int, float]()
    async with asyncio.TaskGroup() as tasks:
        for number in range(1, calls + 1):
            await asyncio.sleep(started + number / per_s - clock())  # noqa: TID251 - a bench sets its own pace
            begun[number] = clock()
            tasks.create_task(_awaited(call(number)))
    return begun


async def _awaited(work: Awaitable[None]) -> None:
    await work


@dataclass
class Used:
    """What processes had of the CPU while they were watched, by name: seconds they ran, and seconds they were ready to
    run and others did. The second are small on a machine that does nothing else."""

    ran: dict[str, float] = field(default_factory=dict)
    waited: dict[str, float] = field(default_factory=dict)

    def measures(self, of: str, seconds: float) -> list[Measure]:
        """In cores, beside the measure that it is of."""
        return [
            measure
            for name in self.ran
            for measure in (
                Measure(f"{of}_{name}_cores", self.ran[name] / seconds, what=f"CPU of {name} meanwhile"),
                Measure(
                    f"{of}_{name}_kept_waiting", self.waited[name] / seconds, what="cores it wanted and others had"
                ),
            )
        ]


@contextmanager
def watching(**pids: int) -> Iterator[Used]:
    """What the processes have of the CPU within the block, their children included."""
    used = Used()
    before = {name: (_ran(pid), _waited(pid)) for name, pid in pids.items()}
    try:
        yield used
    finally:
        for name, pid in pids.items():
            used.ran[name] = _ran(pid) - before[name][0]
            used.waited[name] = _waited(pid) - before[name][1]


def _ran(pid: int) -> float:
    """CPU seconds of a process, its children that live and those that it has waited for (stat of proc(5))."""
    # after the name in brackets: state, parent, ...; utime, stime, cutime and cstime are the 12th to the 15th
    ticks = sum(sum(map(int, fields[11 : 15 if own == pid else 13])) for own, fields in _family(pid))
    return ticks / _TICKS


def _waited(pid: int) -> float:
    """Seconds that its main thread and those of its living children were ready and not run (schedstat of proc(5))."""
    return sum(_run_delay(own) for own, _ in _family(pid)) / 1e9


def _family(pid: int) -> list[tuple[int, list[str]]]:
    stats = (_stat(path) for path in Path("/proc").glob("[0-9]*/stat"))
    return [(own, fields) for own, fields in stats if own == pid or (len(fields) > 1 and fields[1] == str(pid))]


def _run_delay(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1])
    except OSError:  # it has ended meanwhile
        return 0


def _stat(path: Path) -> tuple[int, list[str]]:
    try:
        found = re.fullmatch(r"(\d+) \(.*\) (.*)", path.read_text().strip(), re.DOTALL)
    except OSError:  # it has ended meanwhile
        return 0, []
    return (int(found[1]), found[2].split()) if found else (0, [])


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the bench lives in real time
