"""What reading a file yields: rows with their facts, and rows that are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tocsin.alerts.v1 import fact_pb2

Fact = fact_pb2.Profile | fact_pb2.Account | fact_pb2.Transaction | fact_pb2.Goal | fact_pb2.Budget | fact_pb2.Bill


class FactKind(StrEnum):
    """The kinds of facts, in the order in which they are sent: people before what is theirs."""

    PROFILE = "profile"
    ACCOUNT = "account"
    TRANSACTION = "transaction"
    GOAL = "goal"
    BUDGET = "budget"
    BILL = "bill"


#: The message of each kind.
MESSAGES: dict[FactKind, type[Fact]] = {
    FactKind.PROFILE: fact_pb2.Profile,
    FactKind.ACCOUNT: fact_pb2.Account,
    FactKind.TRANSACTION: fact_pb2.Transaction,
    FactKind.GOAL: fact_pb2.Goal,
    FactKind.BUDGET: fact_pb2.Budget,
    FactKind.BILL: fact_pb2.Bill,
}
_KINDS = {message: kind for kind, message in MESSAGES.items()}


@dataclass(frozen=True, slots=True)
class Row:
    """A fact and the line of the file it begins on. `implied`: no row of the file says it, but its rows need it."""

    line: int
    fact: Fact
    implied: bool = False

    @property
    def kind(self) -> FactKind:
        """The kind of its fact."""
        return _KINDS[type(self.fact)]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a row is not taken in: the field at fault (empty: the whole row), its value, and what is wrong."""

    line: int
    field: str
    value: str
    why: str
    implied: bool = False


class Wrong(ValueError):
    """A cell of a row that cannot be read; `field` is the column or tag as the file names it."""

    def __init__(self, field: str, value: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field, self.value, self.why = field, value, why

    def at(self, line: int) -> Refusal:
        """The refusal of the row on that line."""
        return Refusal(line, self.field, self.value, self.why)


@dataclass(frozen=True)
class Reading:
    """A whole file. `count` rows were read: each is in `rows` (oldest first), in `refused`, or a repeat left out."""

    count: int
    rows: Sequence[Row]
    refused: Sequence[Refusal] = ()
    repeats: int = 0
    left_out: int = 0
    notes: Sequence[str] = field(default_factory=tuple)
