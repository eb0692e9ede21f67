"""Reads our own format, JSON lines: one fact a line, its `type` beside the fields of the contract's JSON.

{"type": "bill", "id": "7", "user_id": "1", "name": "Rent", "amount": "1200.00", "currency": "USD",
 "due_date": "2025-11-01", "recurrence": "monthly"}          (on one line)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError

from tocsin.alerts.v1 import fact_pb2
from tocsin_cli.importing import texts
from tocsin_cli.importing.opening import encoding_of, text_of
from tocsin_cli.importing.ordering import Dated, oldest_first
from tocsin_cli.importing.rows import MESSAGES, Fact, FactKind, Reading, Refusal, Row, Wrong

_KINDS = ", ".join(FactKind)


def read_facts(content: bytes) -> Reading:
    """The file's facts; transactions oldest first, the rest in the file's order."""
    rows: list[Row] = []
    refused: list[Refusal] = []
    for line, text in _lines(text_of(content, encoding_of(content))):
        try:
            rows.append(Row(line, _fact(text)))
        except Wrong as wrong:
            refused.append(wrong.at(line))
    return Reading(len(rows) + len(refused), _in_order(rows), refused)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that hold anything. Only line feeds end one: JSON may hold other line separators."""
    return ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def _fact(text: str) -> Fact:
    """The fact on a line. Raises Wrong."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Wrong("", texts.short(text), f"is no JSON: {error}") from None
    if not isinstance(values, dict):
        raise Wrong("", texts.short(text), "is no JSON object")
    kind = values.pop("type", None)
    if not isinstance(kind, str) or kind not in set(FactKind):
        raise Wrong("type", texts.short(str(kind or "")), f"is none of {_KINDS}")
    message = MESSAGES[FactKind(kind)]()
    try:
        return ParseDict(_with_enum_names(values, message), message)
    except (ParseError, ValueError, TypeError, AttributeError) as error:
        raise Wrong("", texts.short(text), f"is no {kind}: {texts.clean(str(error), 200)}") from None


def _with_enum_names(values: dict[str, Any], message: Fact) -> dict[str, Any]:
    """Enum values by the contract's names, where REST's words are given: `monthly` is BILL_RECURRENCE_MONTHLY."""
    known = dict(values)
    for field in message.DESCRIPTOR.fields:
        word = known.get(field.name)
        if field.enum_type is not None and isinstance(word, str):
            prefix = field.enum_type.values[0].name.removesuffix("UNSPECIFIED")
            name = f"{prefix}{word.upper()}"
            known[field.name] = name if name in field.enum_type.values_by_name else word
    return known


def _in_order(rows: list[Row]) -> list[Row]:
    """Transactions at the end, oldest first."""
    dated = [Dated(row.line, _moment(row.fact), row.fact) for row in rows if isinstance(row.fact, fact_pb2.Transaction)]
    others = [row for row in rows if not isinstance(row.fact, fact_pb2.Transaction)]
    return [*others, *(Row(each.line, each.fact) for each in oldest_first(dated))]


def _moment(fact: fact_pb2.Transaction) -> str:
    if fact.WhichOneof("posted") == "posted_on":
        return f"{fact.posted_on}T12:00:00"
    return fact.posted_at.ToJsonString()
