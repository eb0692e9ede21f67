"""What JSON Schema can say of protovalidate's rules.

Where it cannot say all (a rule in CEL, the largest int64, the longest span) the schema allows more than the services
do, never less.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from buf.validate import validate_pb2
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from tocsin_gateway.transcoding.fields import AnyDescriptor
from tocsin_gateway.transcoding.values import enum_words
from tocsin_kit.rpc.stages.validation import Validation

Schema = dict[str, Any]

_OF_NUMBERS = {"gte": "minimum", "gt": "exclusiveMinimum", "lte": "maximum", "lt": "exclusiveMaximum"}
_OF_TEXTS = {"min_len": "minLength", "max_len": "maxLength", "pattern": "pattern"}
_OF_LISTS = {"min_items": "minItems", "max_items": "maxItems"}
_NUMBERS = ("int32", "uint32", "sint32", "fixed32", "sfixed32", "float", "double")
_NUMBERS_AS_TEXT = ("int64", "uint64", "sint64", "fixed64", "sfixed64")
_FORMATS = ("uuid", "email")  # of those that protovalidate and JSON Schema both know
_SPAN_DIGITS = 12


@cache
def _validation() -> Validation:
    return Validation()  # reads each message's rules once


@cache
def needed(message: AnyDescriptor) -> frozenset[str]:
    """The fields and oneofs that have to be set: those whose rules an empty message breaks."""
    empty = GetMessageClass(message)()
    return frozenset(violation.field for violation in _validation().violations_of(empty))


def of_value(field: FieldDescriptor, rules: validate_pb2.FieldRules) -> Schema:
    """What the rules say of a single value of the field; where they spare its zero, that is allowed too."""
    said = _of_kind(rules)
    if said and rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE:
        return {"anyOf": [{"const": field.default_value}, said]}
    return said


def of_list(rules: validate_pb2.FieldRules) -> Schema:
    """What the rules say of a list as a whole."""
    return _renamed(rules.repeated, _OF_LISTS) | ({"uniqueItems": True} if rules.repeated.unique else {})


def allowed_words(enum: EnumDescriptor, rules: validate_pb2.EnumRules) -> list[str]:
    """The words that a field takes; the value that says nothing is left out instead."""
    only, never = set(getattr(rules, "in")), {0, *rules.not_in}
    words = sorted(enum_words(enum).items())
    return [word for number, word in words if number not in never and (not only or number in only)]


def of_choice(oneof: AnyDescriptor, *, is_needed: bool) -> Schema:
    """Exactly one of the fields of a oneof, or at most one."""
    each: list[Schema] = [{"required": [field.name]} for field in oneof.fields]
    return {"oneOf": each if is_needed else [*each, {"not": {"anyOf": each}}]}


def _of_kind(rules: validate_pb2.FieldRules) -> Schema:
    kind = rules.WhichOneof("type")
    if kind == "string":
        return _of_text(rules.string)
    if kind == "duration":
        return _of_span(rules.duration)
    if kind in _NUMBERS:
        return _renamed(getattr(rules, kind), _OF_NUMBERS)
    if kind in _NUMBERS_AS_TEXT:
        return _of_number_as_text(getattr(rules, kind))
    return {}


def _of_text(rules: validate_pb2.StringRules) -> Schema:
    known = rules.WhichOneof("well_known")
    return _renamed(rules, _OF_TEXTS) | ({"format": known} if known in _FORMATS else {})


def _of_number_as_text(rules: Any) -> Schema:
    if rules.HasField("gt") and rules.gt >= 0:
        return {"pattern": "^[1-9][0-9]{0,18}$"}
    if rules.HasField("gte") and rules.gte >= 0:
        return {"pattern": "^[0-9]{1,19}$"}
    return {}


def _of_span(rules: validate_pb2.DurationRules) -> Schema:
    sign = "" if rules.HasField("gte") and rules.gte.seconds >= 0 else "-?"
    digits = len(str(rules.lte.seconds)) if rules.HasField("lte") else _SPAN_DIGITS
    return {"pattern": rf"^{sign}[0-9]{{1,{digits}}}(\.[0-9]{{1,9}})?s$"}


def _renamed(rules: Any, names: dict[str, str]) -> Schema:
    return {theirs: getattr(rules, ours) for ours, theirs in names.items() if rules.HasField(ours)}
