"""Writing a delivery's history, in the very statement that changes its state: no change is without it, and no batch
costs a round trip more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tocsin_dispatcher.keys import DeliveryKey
from tocsin_dispatcher.store.database import Connection
from tocsin_dispatcher.store.statement import BIG, INSTANT, UUID_, RowSet, statement


def decided(row: str) -> str:
    """What a gate's or a plan's decision about a delivery `row` is in its history; null: nothing to tell."""
    return f"""CASE WHEN {row}.status IN ('held', 'suppressed', 'merged', 'expired') THEN {row}.status
              WHEN {row}.status IN ('pending', 'retrying') AND {row}.reason = 'breaker_open' THEN 'waiting' END"""


def noting(changed: str) -> str:
    """The INSERT of what the rows of the common table expression `changed` say, each with partner_id, id, happening,
    reason, until and joined_id; those without a happening say nothing. The statement has the parameter `now`."""
    return f"""INSERT INTO delivery_events (partner_id, delivery_id, at, happening, reason, until, joined_id)
  SELECT c.partner_id, c.id, :now, c.happening, c.reason, c.until, c.joined_id
    FROM {changed} c WHERE c.happening IS NOT NULL
   ORDER BY c.partner_id, c.id"""  # noqa: S608 - names of our own


_RECHECKED = RowSet("x", partner_id=BIG, id=UUID_)

# Primary key.
_NOTE_RECHECKED = statement(
    f"""
INSERT INTO delivery_events (partner_id, delivery_id, at, happening)
SELECT x.partner_id, x.id, :now, 'rechecked' FROM {_RECHECKED} ORDER BY x.partner_id, x.id
""",  # noqa: S608 - the row set is of our own making
    _RECHECKED,
    now=INSTANT,
)


async def note_rechecked(connection: Connection, keys: Sequence[DeliveryKey], now: datetime) -> None:
    """The alerts of these were asked about before they leave, and stand."""
    if keys:
        await connection.execute(_NOTE_RECHECKED, {**_RECHECKED.filled(keys), "now": now})
