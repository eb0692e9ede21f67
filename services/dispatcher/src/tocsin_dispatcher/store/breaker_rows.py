"""Circuit breakers as all replicas see them: failures and changes only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from tocsin_dispatcher.breakers import Breaker, BreakerKey, BreakerState
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.statement import INSTANT, SMALL, TEXT, statement

# A handful of rows.
_READ = statement(
    "SELECT provider, subject, state, since, failures, successes, reason, next_probe_at FROM breakers"
    " ORDER BY provider, subject"
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


async def read_breakers(connection: Connection) -> Mapping[BreakerKey, Breaker]:
    """All that were ever written."""
    return {
        BreakerKey(row.provider, row.subject): Breaker(
            state=BreakerState(row.state),
            since=row.since,
            failures=row.failures,
            successes=row.successes,
            next_probe_at=row.next_probe_at,
            reason=row.reason,
        )
        for row in await connection.execute(_READ)
    }


async def write_breakers(connection: Connection, changed: Mapping[BreakerKey, Breaker]) -> None:
    """Write these, in key order, where they are the newest."""
    for key, breaker in sorted(changed.items(), key=lambda item: (item[0].provider, item[0].credential)):
        await connection.execute(
            _WRITE,
            {
                "provider": key.provider,
                "subject": key.credential,
                "state": breaker.state,
                "since": breaker.since,
                "failures": breaker.failures,
                "successes": breaker.successes,
                "reason": breaker.reason,
                "next_probe_at": breaker.next_probe_at,
            },
        )


async def reset_breaker(connection: Connection, key: BreakerKey, now: datetime) -> bool:
    """Close it, whatever it is; False when there is none."""
    answer = await connection.execute(_RESET, {"provider": key.provider, "subject": key.credential, "now": now})
    return answer.one_or_none() is not None
