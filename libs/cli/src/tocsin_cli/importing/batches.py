"""Rows in the order and the portions in which they are sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tocsin.alerts.v1 import fact_pb2
from tocsin_cli.importing.rows import FactKind, Row

#: Rows of one call; the contract allows 1,000. Half of it goes through the evaluator faster, and loses less.
MOST_ROWS = 500
#: Calls under way at a time. Each account's rows keep to one lane, so that they arrive in their order.
LANES = 3


@dataclass(frozen=True)
class Lane:
    """Batches of one kind that are sent one after the other. `name` is the same in every run."""

    name: str
    kind: FactKind
    batches: Sequence[Sequence[Row]]


def stages(rows: Iterable[Row]) -> list[list[Lane]]:
    """Lanes that are sent side by side, stage by stage: a stage begins when the one before is done."""
    of_kind: dict[FactKind, list[Row]] = {kind: [] for kind in FactKind}
    for row in rows:
        of_kind[row.kind].append(row)
    return [_lanes(kind, of_kind[kind]) for kind in FactKind if of_kind[kind]]


def _lanes(kind: FactKind, rows: Sequence[Row]) -> list[Lane]:
    parts: list[list[Row]] = [[] for _ in range(LANES)]
    for row in rows:
        parts[row.fact.account_id % LANES if isinstance(row.fact, fact_pb2.Transaction) else 0].append(row)
    return [Lane(f"{kind}/{number}", kind, _portions(part)) for number, part in enumerate(parts) if part]


def _portions(rows: Sequence[Row]) -> list[Sequence[Row]]:
    return [rows[first : first + MOST_ROWS] for first in range(0, len(rows), MOST_ROWS)]
