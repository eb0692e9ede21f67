"""What checks, previews and trials tell: the example of each kind, and what a kind can be beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tocsin_dispatcher.planning.local_time import zone_named
from tocsin_dispatcher.rendering.formats import locale_named
from tocsin_dispatcher.rendering.loading import read_template
from tocsin_dispatcher.rendering.variables import Reader
from tocsin_dispatcher.values import (
    AccountThresholdContext,
    AlertKind,
    Digest,
    DigestMember,
    PushTest,
    TemplateKind,
    ThresholdDirection,
    Told,
    UpcomingBillContext,
    Verification,
)
from tocsin_dispatcher.values.context_json import context_from_json
from tocsin_kit.money import parse_amount

AT = datetime(2025, 11, 1, 15, 0, tzinfo=UTC)
"""When the examples are told: their days lie around it."""


class NoSuchValue(ValueError):
    """A given value is of no name that the kind has, or is no such value."""


def example(kind: TemplateKind, values: Mapping[str, str] | None = None) -> Told:
    """The kind's example, with `values` in place of its own. Raises NoSuchValue, which names the one at fault."""
    stored, given = json.loads(read_template(f"{kind}/example.json")), dict(values or {})
    known = {} if kind is TemplateKind.DIGEST else stored
    unknown = sorted(given.keys() - known.keys())
    if unknown:
        raise NoSuchValue(f"there is no value {unknown[0]!r}")
    for name, value in given.items():
        try:
            told = _told(kind, {**stored, name: value})
            if isinstance(getattr(told, name, None), Decimal):
                parse_amount(value, name)
        except (ValueError, ArithmeticError) as error:
            raise NoSuchValue(f"{name!r} is no such number, day or word") from error
    return _told(kind, {**stored, **given})


def edges(kind: TemplateKind) -> list[Told]:
    """The kind's example, and the others that a template must cope with."""
    first = example(kind)
    match first:
        case AccountThresholdContext():
            return [first, replace(first, direction=ThresholdDirection.ABOVE, balance=Decimal("-12.34"))]
        case UpcomingBillContext():
            return [first, *(replace(first, due_on=AT.date() + timedelta(days=days)) for days in (0, 1, -3))]
        case _:
            return [first]


def reader(locale: str, hide_amounts: bool = False, now: datetime = AT) -> Reader:
    """Somebody of that locale."""
    return Reader(locale_named(locale), zone_named("UTC"), now, hide_amounts)


def of_today(told: Told, now: datetime) -> Told:
    """An example that is told now: a bill is due as many days from now as it was from AT."""
    if isinstance(told, UpcomingBillContext):
        return replace(told, due_on=told.due_on + (now.date() - AT.date()))
    return told


def _told(kind: TemplateKind, stored: Mapping[str, Any]) -> Told:
    match kind:
        case TemplateKind.DIGEST:
            return Digest(tuple(_member(member) for member in stored["members"]))
        case TemplateKind.VERIFICATION:
            return Verification(str(stored["code"]), timedelta(minutes=int(stored["minutes"])))
        case TemplateKind.SYSTEM:
            return PushTest()
        case _:
            return context_from_json(AlertKind(kind), stored)


def _member(stored: Mapping[str, Any]) -> DigestMember:
    context = context_from_json(AlertKind(stored["kind"]), stored["context"])
    return DigestMember(context, datetime.fromisoformat(stored["fired_at"]))
