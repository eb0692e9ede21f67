"""Asking about a user's alerts, and alerts as people type them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message

from tocsin.alerts.v1 import alert_pb2, alert_pb2_grpc
from tocsin_cli.calls import bank_bearer, call
from tocsin_cli.choices import word
from tocsin_cli.settings import read_settings
from tocsin_cli.show import complain, instant

Answer = TypeVar("Answer")
Metadata = tuple[tuple[str, str], ...]
User = Annotated[
    int | None, typer.Option(min=1, help="The user, by the bank's id. Not needed with a user's own TOCSIN_TOKEN.")
]
Partner = Annotated[int | None, typer.Option(min=1, help="The bank, in dev; else TOCSIN_TOKEN says it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the whole answer as JSON.")]


def ask(
    partner: int | None,
    user: int | None,
    work: Callable[[alert_pb2_grpc.AlertServiceAsyncStub, Metadata], Awaitable[Answer]],
) -> Answer:
    """What AlertService answers to a bank for its user, or to the user whose token TOCSIN_TOKEN is.

    Exits with 2 where nobody can be told to ask, with 1 where the call fails.
    """
    settings = read_settings()
    token = bank_bearer(settings, partner)
    if settings.token is None and user is None:
        complain("--user is needed")
        raise typer.Exit(2)
    metadata = () if user is None else (("tocsin-user", str(user)),)
    target = settings.evaluator_target
    return call(settings, target, lambda opened: work(alert_pb2_grpc.AlertServiceStub(opened), metadata), token)


def print_json(message: Message) -> None:
    """An answer as JSON with every field of it, enum values in REST's words."""
    values = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    typer.echo(json.dumps(_with_words(values, message.DESCRIPTOR), indent=2, ensure_ascii=False))


def _with_words(values: Any, descriptor: Any) -> Any:
    """Enum values by REST's words: THRESHOLD_DIRECTION_BELOW is `below`."""
    if isinstance(values, list):
        return [_with_words(each, descriptor) for each in values]
    if not isinstance(values, dict):
        return values
    known = dict(values)
    for field in descriptor.fields:
        value = known.get(field.name)
        if field.enum_type is not None:
            prefix = field.enum_type.values[0].name.removesuffix("UNSPECIFIED")
            names = value if isinstance(value, list) else [value]
            words = [each.removeprefix(prefix).lower() if isinstance(each, str) else each for each in names]
            known[field.name] = words if isinstance(value, list) else words[0]
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            known[field.name] = _with_words(value, field.message_type)
    return {name: value for name, value in known.items() if name in values}


def alert_from(text: str) -> alert_pb2.Alert:
    """An alert as REST takes it, in JSON. Raises typer.BadParameter."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"is no JSON: {error}") from None
    alert = alert_pb2.Alert()
    try:
        return ParseDict(_with_enum_names(values, alert.DESCRIPTOR), alert)
    except (ParseError, ValueError, TypeError, AttributeError) as error:
        raise typer.BadParameter(f"is no alert: {error}") from None


def _with_enum_names(values: Any, descriptor: Any) -> Any:
    """Enum values by the contract's names, where REST's words are given: `below` is THRESHOLD_DIRECTION_BELOW."""
    if not isinstance(values, dict):
        return values
    known = dict(values)
    for field in descriptor.fields:
        value = known.get(field.name)
        if field.enum_type is not None and isinstance(value, str):
            prefix = field.enum_type.values[0].name.removesuffix("UNSPECIFIED")
            name = f"{prefix}{value.upper()}"
            known[field.name] = name if name in field.enum_type.values_by_name else value
        elif field.message_type is not None and not field.is_repeated:
            known[field.name] = _with_enum_names(value, field.message_type) if field.name in known else None
    return {name: value for name, value in known.items() if name in values}


def listed(message: Message) -> str:
    """The fields of a message that say something to a person: `balance 480.00, threshold 500.00`; ids do not."""
    parts = []
    for field, value in message.ListFields():
        if field.name.endswith("_id"):
            continue
        if field.enum_type is not None:
            value = word(field.enum_type, value)
        elif field.message_type is not None:
            value = instant(value)
        parts.append(f"{field.name.replace('_', ' ')} {value}")
    return ", ".join(parts)
