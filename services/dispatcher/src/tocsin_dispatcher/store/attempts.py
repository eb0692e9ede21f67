"""What the worker writes: an attempt before its call, what the gate set aside, and outcomes afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from tocsin_dispatcher.keys import DeliveryKey
from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store.conditions import UNTOLD
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.history import decided, noting
from tocsin_dispatcher.store.statement import AMOUNT, BIG, FLAG, INSTANT, SMALL, TEXT, UUID_, RowSet, statement
from tocsin_dispatcher.values import OutcomeKind


@dataclass(frozen=True, slots=True)
class Beginning:
    """An attempt about to be made; `attempt` is the last one's number, `leased_until` names the claim."""

    key: DeliveryKey
    attempt: int
    leased_until: datetime
    destination: str | None
    provider: str
    credential: str
    possible_duplicate: bool


@dataclass(frozen=True, slots=True)
class SetAside:
    """What the gate decided other than to send. `due_at` None in a final state; `expires_at` None: as it was."""

    key: DeliveryKey
    leased_until: datetime
    status: DeliveryState
    reason: Reason | None
    due_at: datetime | None
    expires_at: datetime | None = None
    merged_into: UUID | None = None
    fact_key: str | None = None
    """Of one that merges: the fact it will tell should the other one end untold; None: as it was."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """An attempt's outcome and the delivery's next step. `outcome` None: a look-up, which ends no attempt."""

    key: DeliveryKey
    attempt: int
    status: DeliveryState
    due_at: datetime | None
    failures: int
    possible_duplicate: bool
    repeated_after_unknown: bool
    outcome: OutcomeKind | None
    provider_id: str | None
    status_code: int | None
    code: str | None
    answer: str
    segments: int | None
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class Settled:
    """What an outcome did to its delivery."""

    moves: bool
    """Its state is another now."""
    segments_sent: int | None
    """An SMS's segments, where by this outcome it is one that was sent and weighed."""


_BEGUN = RowSet(
    "x",
    partner_id=BIG,
    id=UUID_,
    attempt=SMALL,
    leased_until=INSTANT,
    destination=TEXT,
    provider=TEXT,
    credential=TEXT,
    possible_duplicate=FLAG,
)

# Primary key. Fenced by claim and attempt number: a worker that was too late begins nothing. IS TRUE, as in a claim,
# lest an index of what waits is read whole: it looks small to a plan that was kept since fewer waited.
_BEGIN = statement(
    f"""
WITH begun AS (
  UPDATE deliveries d
     SET status = 'sending', reason = NULL, attempt = d.attempt + 1, token_taken = true,
         destination = x.destination, provider = x.provider, due_at = :leased_until, leased_until = :leased_until
    FROM {_BEGUN}
   WHERE d.partner_id = x.partner_id AND d.id = x.id AND d.attempt = x.attempt AND d.leased_until = x.leased_until
     AND (d.status IN ('pending', 'retrying')) IS TRUE
  RETURNING d.partner_id, d.id, d.attempt, x.provider, x.credential, x.possible_duplicate
)
INSERT INTO attempts (partner_id, delivery_id, number, provider, credential, started_at, possible_duplicate)
SELECT partner_id, id, attempt, provider, credential, :now, possible_duplicate FROM begun
RETURNING delivery_id
""",  # noqa: S608 - the row set is of our own making
    _BEGUN,
    now=INSTANT,
    leased_until=INSTANT,
)

_ASIDE = RowSet(
    "x",
    partner_id=BIG,
    id=UUID_,
    leased_until=INSTANT,
    status=TEXT,
    reason=TEXT,
    due_at=INSTANT,
    expires_at=INSTANT,
    merged_into=UUID_,
    fact_key=TEXT,
)

# Primary key. Fenced by the claim. What ended meanwhile is joined no longer (inboxes of users with joining ones are
# locked, so that it cannot end unseen): such a delivery is as it was. A verdict is history where it is another than the
# last one; that a profile is awaited still is none.
_SET_ASIDE = statement(
    f"""
WITH put AS (
  UPDATE deliveries d
     SET status = x.status, reason = x.reason, due_at = x.due_at, expires_at = coalesce(x.expires_at, d.expires_at),
         merged_into = coalesce(x.merged_into, d.merged_into), fact_key = coalesce(x.fact_key, d.fact_key),
         leased_until = NULL,
         failed_at = CASE WHEN x.status = 'expired' THEN :now ELSE d.failed_at END
    FROM {_ASIDE}
   WHERE d.partner_id = x.partner_id AND d.id = x.id AND d.leased_until = x.leased_until
     AND (d.status IN ('pending', 'retrying', 'unknown')) IS TRUE
     AND (x.merged_into IS NULL
          OR EXISTS (SELECT 1 FROM deliveries t
                      WHERE t.partner_id = x.partner_id AND t.id = x.merged_into
                        AND t.status NOT IN {UNTOLD}))
  RETURNING d.partner_id, d.id, new.reason, new.due_at AS until, new.merged_into AS joined_id,
            CASE WHEN (old.status, old.reason) IS DISTINCT FROM (new.status, new.reason)
                  AND (old.reason = 'profile_awaited' AND new.reason = 'profile_awaited') IS NOT TRUE
                 THEN {decided("new")} END AS happening
), noted AS (
  {noting("put")}
)
SELECT id FROM put
""",  # noqa: S608 - the row set is of our own making
    _ASIDE,
    now=INSTANT,
)

_SETTLED = RowSet(
    "x",
    partner_id=BIG,
    id=UUID_,
    attempt=SMALL,
    status=TEXT,
    due_at=INSTANT,
    failures=SMALL,
    possible_duplicate=FLAG,
    repeated_after_unknown=FLAG,
    outcome=TEXT,
    provider_id=TEXT,
    status_code=SMALL,
    code=TEXT,
    answer=TEXT,
    segments=SMALL,
    cost=AMOUNT,
)

# Primary key; the attempt keeps its own outcome also when the delivery has moved on.
_SETTLE_ATTEMPTS = statement(
    f"""
UPDATE attempts a
   SET finished_at = :now, outcome = x.outcome, status_code = x.status_code, code = x.code, answer = x.answer
  FROM {_SETTLED}
 WHERE a.partner_id = x.partner_id AND a.delivery_id = x.id AND a.number = x.attempt AND x.outcome IS NOT NULL
""",  # noqa: S608 - the row set is of our own making
    _SETTLED,
    now=INSTANT,
)

# Primary key, locked in order. Fenced by the attempt number. A receipt may have been faster: then the state stays as it
# is, and only what the provider calls the message is added. An attempt taken for lost may still settle what is unknown.
# What a look-up says never arrived weighs nothing. One that has expired by it is history.
_SETTLE_DELIVERIES = statement(
    f"""
WITH settled AS (
  SELECT x.*, (d.status = 'unknown' AND x.status IN ('retrying', 'failed')
               AND x.outcome IS NULL AND x.provider_id IS NULL) AS never_arrived,
         (d.status = 'sending' OR d.status = 'unknown'
           AND x.status IN ('sent', 'failed', 'retrying', 'unknown', 'expired')) AS moves
    FROM {_SETTLED}
    JOIN deliveries d ON d.partner_id = x.partner_id AND d.id = x.id AND d.attempt = x.attempt
   ORDER BY d.partner_id, d.id
     FOR NO KEY UPDATE OF d
), written AS (
UPDATE deliveries d
   SET status = CASE WHEN s.moves THEN s.status ELSE d.status END,
       reason = CASE WHEN s.moves AND s.status = 'expired' THEN 'expired' ELSE d.reason END,
       due_at = CASE WHEN s.moves THEN s.due_at ELSE d.due_at END,
       leased_until = CASE WHEN s.moves THEN NULL ELSE d.leased_until END,
       failures = CASE WHEN s.moves THEN s.failures ELSE d.failures END,
       possible_duplicate = d.possible_duplicate OR s.possible_duplicate,
       repeated_after_unknown = d.repeated_after_unknown OR s.repeated_after_unknown,
       provider_id = coalesce(s.provider_id, d.provider_id),
       segments = CASE WHEN s.never_arrived THEN NULL ELSE coalesce(s.segments, d.segments) END,
       cost = CASE WHEN s.never_arrived THEN NULL ELSE coalesce(s.cost, d.cost) END,
       error = CASE WHEN s.moves AND s.outcome IS DISTINCT FROM 'accepted' THEN s.answer
                    WHEN s.moves THEN NULL ELSE d.error END,
       sent_at = CASE WHEN s.status = 'sent' THEN coalesce(d.sent_at, :now) ELSE d.sent_at END,
       failed_at = CASE WHEN s.moves AND s.status IN ('failed', 'expired') THEN :now ELSE d.failed_at END
  FROM settled s
 WHERE d.partner_id = s.partner_id AND d.id = s.id
RETURNING d.partner_id, d.id, s.moves,
          CASE WHEN new.status IN ('sent', 'delivered', 'bounced')
                AND (old.status NOT IN ('sent', 'delivered', 'bounced') OR old.segments IS NULL)
               THEN new.segments END AS segments_sent,
          CASE WHEN s.moves AND s.status = 'expired' THEN 'expired' END AS happening,
          new.reason, CAST(NULL AS timestamptz) AS until, CAST(NULL AS uuid) AS joined_id
), noted AS (
  {noting("written")}
)
SELECT id, moves, segments_sent FROM written
""",  # noqa: S608 - the row set is of our own making
    _SETTLED,
    now=INSTANT,
)


async def begin_attempts(
    connection: Connection, beginnings: Sequence[Beginning], now: datetime, leased_until: datetime
) -> frozenset[UUID]:
    """Write the attempts before their calls; answers the deliveries that may be called for."""
    if not beginnings:
        return frozenset()
    rows = [
        (
            *begun.key,
            begun.attempt,
            begun.leased_until,
            begun.destination,
            begun.provider,
            begun.credential,
            begun.possible_duplicate,
        )
        for begun in sorted(beginnings, key=lambda begun: begun.key)
    ]
    written = await connection.execute(_BEGIN, {**_BEGUN.filled(rows), "now": now, "leased_until": leased_until})
    return frozenset(written.scalars())


async def set_aside(connection: Connection, aside: Sequence[SetAside], now: datetime) -> frozenset[UUID]:
    """Write what the gate decided; answers the deliveries that were still this claim's."""
    if not aside:
        return frozenset()
    rows = [
        (
            *put.key,
            put.leased_until,
            put.status,
            put.reason,
            put.due_at,
            put.expires_at,
            put.merged_into,
            put.fact_key,
        )
        for put in sorted(aside, key=lambda put: put.key)
    ]
    written = await connection.execute(_SET_ASIDE, {**_ASIDE.filled(rows), "now": now})
    return frozenset(written.scalars())


async def settle(connection: Connection, settlements: Sequence[Settlement], now: datetime) -> Mapping[UUID, Settled]:
    """Write outcomes; answers what each did to its delivery. One that is not in the answer has moved on."""
    parameters = {**_SETTLED.filled([_settled_row(one) for one in settlements]), "now": now}
    await connection.execute(_SETTLE_ATTEMPTS, parameters)
    rows = await connection.execute(_SETTLE_DELIVERIES, parameters)
    return {row.id: Settled(row.moves, row.segments_sent) for row in rows}


def _settled_row(settled: Settlement) -> tuple[object, ...]:
    return (
        *settled.key,
        settled.attempt,
        settled.status,
        settled.due_at,
        settled.failures,
        settled.possible_duplicate,
        settled.repeated_after_unknown,
        settled.outcome,
        settled.provider_id,
        settled.status_code,
        settled.code,
        settled.answer,
        settled.segments,
        settled.cost,
    )
