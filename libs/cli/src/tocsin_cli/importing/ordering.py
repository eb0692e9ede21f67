"""The order in which a file's transactions happened: the balance after the last one is the account's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice, pairwise

from tocsin.alerts.v1 import fact_pb2

_LOOKED_AT = 50


@dataclass(frozen=True, slots=True)
class Dated:
    """A transaction, the line it begins on, and when it was made, as a text that sorts."""

    line: int
    order: str
    fact: fact_pb2.Transaction


def oldest_first(rows: Sequence[Dated]) -> list[Dated]:
    """The rows by their moment; those of one moment in the file's order, which many banks write newest first."""
    in_order = reversed(rows) if _is_newest_first(rows) else rows
    return sorted(in_order, key=lambda row: row.order)


def _is_newest_first(rows: Sequence[Dated]) -> bool:
    """By the days; where all rows are of one, by which way the balances go on."""
    rising = sum(a.order < b.order for a, b in pairwise(rows))
    falling = sum(a.order > b.order for a, b in pairwise(rows))
    if rising or falling:
        return falling > rising
    forwards = backwards = 0
    for a, b in islice(pairwise([row.fact for row in rows if row.fact.balance_after]), _LOOKED_AT):
        step = Decimal(b.balance_after) - Decimal(a.balance_after)
        forwards += step == Decimal(b.amount)
        backwards += -step == Decimal(a.amount)
    return backwards > forwards
