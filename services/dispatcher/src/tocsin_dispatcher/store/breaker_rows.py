"""Circuit breakers and pauses of providers as all replicas see them: failures, refusals and changes only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from tocsin_dispatcher.breakers import Breaker, BreakerKey, BreakerState
from tocsin_dispatcher.paces import Pause
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.statement import INSTANT, SMALL, TEXT, RowSet, statement

_COLUMNS = "provider, subject, state, since, failures, successes, reason, next_probe_at, paused_until, calls_a_minute"
_KNOWN = RowSet("k", provider=TEXT, subject=TEXT)

# All, read whole: one for each provider, push service and webhook endpoint that failed lately.
_READ = statement(f"SELECT {_COLUMNS} FROM breakers ORDER BY provider, subject")  # noqa: S608 - constants of our own

# The same, but of what is closed only what others may not know yet, and pauses that still have an effect.
_READ_NEWS = statement(
    f"""
SELECT {_COLUMNS} FROM breakers b
 WHERE b.state <> 'closed' OR b.paused_until >= :paused_since
    OR EXISTS (SELECT 1 FROM {_KNOWN} WHERE k.provider = b.provider AND k.subject = b.subject)
 ORDER BY provider, subject
""",  # noqa: S608 - constants of our own
    _KNOWN,
    paused_since=INSTANT,
)

# Primary key. An older change never overwrites a newer one, and a failure counted elsewhere while closed never closes.
_WRITE = statement(
    """
INSERT INTO breakers AS b (provider, subject, state, since, failures, successes, reason, next_probe_at)
VALUES (:provider, :subject, :state, :since, :failures, :successes, :reason, :next_probe_at)
ON CONFLICT (provider, subject) DO UPDATE
   SET state = excluded.state, since = excluded.since, failures = excluded.failures, successes = excluded.successes,
       reason = excluded.reason, next_probe_at = excluded.next_probe_at
 WHERE b.since <= excluded.since AND (b.state = 'closed' OR excluded.state <> 'closed' OR excluded.failures = 0)
""",
    provider=TEXT,
    subject=TEXT,
    state=TEXT,
    since=INSTANT,
    failures=SMALL,
    successes=SMALL,
    reason=TEXT,
    next_probe_at=INSTANT,
)

# Primary key. A pause that ends later holds. Of a provider that never failed the breaker is closed, since so long ago
# that no replica takes it for news.
_PAUSE = statement(
    """
INSERT INTO breakers AS b (provider, subject, state, since, failures, successes, reason, paused_until, calls_a_minute)
VALUES (:provider, :subject, 'closed', TIMESTAMPTZ 'epoch', 0, 0, '', :paused_until, :calls_a_minute)
ON CONFLICT (provider, subject) DO UPDATE
   SET paused_until = excluded.paused_until, calls_a_minute = excluded.calls_a_minute
 WHERE b.paused_until IS NULL OR b.paused_until < excluded.paused_until
""",
    provider=TEXT,
    subject=TEXT,
    paused_until=INSTANT,
    calls_a_minute=SMALL,
)

# Primary key.
_RESET = statement(
    """
UPDATE breakers
   SET state = 'closed', since = :now, failures = 0, successes = 0, reason = '', next_probe_at = NULL
 WHERE provider = :provider AND subject = :subject
RETURNING provider
""",
    provider=TEXT,
    subject=TEXT,
    now=INSTANT,
)


async def read_board(
    connection: Connection, not_closed: Iterable[BreakerKey], paused_since: datetime
) -> Mapping[BreakerKey, tuple[Breaker, Pause | None]]:
    """Those that are not closed or are `not_closed` to the reader, and those that were paused lately, each with its
    last pause."""
    known = _KNOWN.filled([(key.provider, key.credential) for key in not_closed])
    rows = await connection.execute(_READ_NEWS, {**known, "paused_since": paused_since})
    return {
        BreakerKey(row.provider, row.subject): (
            _breaker(row),
            None if row.paused_until is None else Pause(row.paused_until, row.calls_a_minute),
        )
        for row in rows
    }


async def read_breakers(connection: Connection) -> Mapping[BreakerKey, Breaker]:
    """All that are written."""
    return {BreakerKey(row.provider, row.subject): _breaker(row) for row in await connection.execute(_READ)}


async def write_board(
    connection: Connection, breakers: Mapping[BreakerKey, Breaker], pauses: Mapping[BreakerKey, Pause]
) -> None:
    """Write these, in key order: breakers where they are the newest, pauses where they end later."""
    for key in sorted(breakers.keys() | pauses.keys(), key=lambda key: (key.provider, key.credential)):
        named = {"provider": key.provider, "subject": key.credential}
        if key in breakers:
            await connection.execute(_WRITE, {**named, **_columns(breakers[key])})
        if key in pauses:
            pause = {"paused_until": pauses[key].until, "calls_a_minute": pauses[key].calls_a_minute}
            await connection.execute(_PAUSE, {**named, **pause})


async def reset_breaker(connection: Connection, key: BreakerKey, now: datetime) -> bool:
    """Close it, whatever it is; False when there is none."""
    answer = await connection.execute(_RESET, {"provider": key.provider, "subject": key.credential, "now": now})
    return answer.one_or_none() is not None


def _breaker(row: Row[Any]) -> Breaker:
    return Breaker(
        state=BreakerState(row.state),
        since=row.since,
        failures=row.failures,
        successes=row.successes,
        next_probe_at=row.next_probe_at,
        reason=row.reason,
    )


def _columns(breaker: Breaker) -> Mapping[str, object]:
    return {
        "state": breaker.state,
        "since": breaker.since,
        "failures": breaker.failures,
        "successes": breaker.successes,
        "reason": breaker.reason,
        "next_probe_at": breaker.next_probe_at,
    }
