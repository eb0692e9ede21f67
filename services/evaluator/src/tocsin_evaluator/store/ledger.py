"""Rows of the evaluation ledger."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import Select, func, select, text, tuple_
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.model.tally import Tally
from tocsin_evaluator.model.words import KindName, Reason, Way
from tocsin_evaluator.store.tables import evaluation_ledger

_NUMBERS = ("evaluated", "true", "fired", *[reason.value for reason in Reason])


@dataclass(frozen=True)
class Line:
    """What one replica counted in a minute, of a kind, in a way."""

    minute: datetime
    kind: KindName
    way: Way
    replica: str
    tally: Tally


@dataclass(frozen=True)
class Total:
    """What all replicas together counted in a minute, of a kind, in a way."""

    minute: datetime
    kind: str
    way: Way
    tally: Tally

    @property
    def place(self) -> "Place":
        """Where it stands in the list."""
        return self.minute, self.kind, self.way.value


Place: TypeAlias = tuple[datetime, str, str]
"""(minute, kind, way)."""


async def add_lines(connection: AsyncConnection, lines: Sequence[Line]) -> None:
    """Add to the ledger, by primary key, in the order given (which callers keep by key)."""
    if not lines:
        return
    rows = [
        {
            "minute": line.minute,
            "kind": line.kind.value,
            "way": line.way.value,
            "replica": line.replica,
            "evaluated": line.tally.evaluated,
            "true": line.tally.true,
            "fired": line.tally.fired,
            **{reason.value: line.tally.reasons[reason] for reason in Reason},
        }
        for line in lines
    ]
    await connection.execute(_ADD, rows)


def _add() -> Insert:
    statement = insert(evaluation_ledger)
    return statement.on_conflict_do_update(
        index_elements=["minute", "kind", "way", "replica"],
        set_={name: evaluation_ledger.c[name] + statement.excluded[name] for name in _NUMBERS},
    )


# Built once, its rows given apart: rows within the statement would have it compiled at every write.
_ADD = _add()

# The primary key. Adds an hour's minutes up into one row at the hour, replicas together.
_FOLD = text("""
WITH old AS (
  DELETE FROM evaluation_ledger l
  WHERE l.minute < :before AND (l.minute <> date_trunc('hour', l.minute, 'UTC') OR l.replica <> 'hourly')
  RETURNING l.*
)
INSERT INTO evaluation_ledger (minute, kind, way, replica, evaluated, "true", fired, backfill, snoozed, currency, stale,
                               cooldown, not_rearmed, already_sent, passed)
SELECT date_trunc('hour', minute, 'UTC'), kind, way, 'hourly', sum(evaluated), sum("true"), sum(fired), sum(backfill),
       sum(snoozed), sum(currency), sum(stale), sum(cooldown), sum(not_rearmed), sum(already_sent), sum(passed)
FROM old GROUP BY 1, 2, 3
ON CONFLICT (minute, kind, way, replica) DO UPDATE SET
  evaluated = evaluation_ledger.evaluated + excluded.evaluated, "true" = evaluation_ledger."true" + excluded."true",
  fired = evaluation_ledger.fired + excluded.fired, backfill = evaluation_ledger.backfill + excluded.backfill,
  snoozed = evaluation_ledger.snoozed + excluded.snoozed, currency = evaluation_ledger.currency + excluded.currency,
  stale = evaluation_ledger.stale + excluded.stale, cooldown = evaluation_ledger.cooldown + excluded.cooldown,
  not_rearmed = evaluation_ledger.not_rearmed + excluded.not_rearmed,
  already_sent = evaluation_ledger.already_sent + excluded.already_sent,
  passed = evaluation_ledger.passed + excluded.passed
""")


async def fold_before(connection: AsyncConnection, before: datetime) -> None:
    """Keep minutes older than `before` as hours."""
    await connection.execute(_FOLD, {"before": before})


@dataclass(frozen=True)
class Asked:
    """Which minutes, from one until before another, of which kind and way (None: of all)."""

    since: datetime
    until: datetime
    kind: KindName | None
    way: Way | None


def page_statement(asked: Asked, before: Place | None, size: int) -> Select[*tuple[Any, ...]]:
    """As `page` asks for it."""
    ledger = evaluation_ledger.c
    key = (ledger.minute, ledger.kind, ledger.way)
    statement = select(*key, *[func.sum(ledger[name]).label(name) for name in _NUMBERS])
    statement = statement.where(ledger.minute >= asked.since, ledger.minute < asked.until)
    if asked.kind is not None:
        statement = statement.where(ledger.kind == asked.kind.value)
    if asked.way is not None:
        statement = statement.where(ledger.way == asked.way.value)
    if before is not None:
        statement = statement.where(tuple_(*key) < tuple_(*before))
    return statement.group_by(*key).order_by(*[each.desc() for each in key]).limit(size)


async def page(connection: AsyncConnection, asked: Asked, before: Place | None, size: int) -> list[Total]:
    """The ledger's lines before a place, newest first, replicas added up. The primary key, backwards."""
    rows = await connection.execute(page_statement(asked, before, size))
    return [_total(dict(row._mapping)) for row in rows]


def _total(row: Mapping[str, Any]) -> Total:
    reasons = Counter({reason: int(row[reason.value]) for reason in Reason if row[reason.value]})
    tally = Tally(int(row["evaluated"]), int(row["fired"]), reasons)
    return Total(row["minute"], row["kind"], Way(row["way"]), tally)
