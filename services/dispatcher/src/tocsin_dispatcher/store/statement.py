"""How statements are written here: SQL to be read, typed parameters, sets of rows as one array per column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Boolean, Date, DateTime, Integer, LargeBinary, Numeric, Text, TextClause, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.sql.expression import bindparam
from sqlalchemy.types import TypeEngine

BIG, SMALL, TEXT, UUID_, INSTANT = BigInteger(), Integer(), Text(), Uuid(), DateTime(timezone=True)
DAY, FLAG, BYTES, AMOUNT, JSON_ = Date(), Boolean(), LargeBinary(), Numeric(18, 4), JSONB()
TEXTS, UUIDS, BIGS = ARRAY(Text), ARRAY(Uuid), ARRAY(BigInteger)

Parameter = TypeEngine[Any]


def statement(sql: str, /, *sets: RowSet, **types: Parameter) -> TextClause:
    """The SQL with its parameters typed: those of `sets`, and `types` by name."""
    parameters = dict(types)
    for rows in sets:
        parameters |= rows.types
    return text(sql).bindparams(*(bindparam(name, type_=kind) for name, kind in parameters.items()))


class RowSet:
    """Rows that a statement gets as one array per column, to be read as a table: `FROM {rows}`.

    `name` is the table's alias; the columns keep the order in which they are given.
    """

    def __init__(self, name: str, **columns: Parameter) -> None:
        self._name = name
        self._columns = columns

    def __str__(self) -> str:
        arrays = ", ".join(f":{self._name}_{column}" for column in self._columns)
        return f"unnest({arrays}) AS {self._name}({', '.join(self._columns)})"

    @property
    def types(self) -> dict[str, Parameter]:
        """The arrays' parameter names and types."""
        return {f"{self._name}_{column}": ARRAY(kind) for column, kind in self._columns.items()}

    def filled(self, rows: Iterable[Sequence[object]]) -> Mapping[str, list[object]]:
        """The arrays that hold `rows`, each given in the order of the columns."""
        turned = list(zip(*rows, strict=True)) or [()] * len(self._columns)
        return {f"{self._name}_{column}": list(values) for column, values in zip(self._columns, turned, strict=True)}
