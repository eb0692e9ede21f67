"""JSON Schemas of messages and fields, as components that refer to one another."""

from __future__ import annotations

from functools import cache
from typing import Any

from buf.validate import validate_pb2
from google.protobuf.descriptor import FieldDescriptor

from tocsin_gateway.transcoding.comments import comments
from tocsin_gateway.transcoding.constraints import Schema, allowed_words, needed, of_choice, of_list, of_value
from tocsin_gateway.transcoding.fields import AnyDescriptor, entry_of, holds_fields, is_map
from tocsin_gateway.transcoding.values import is_well_known

INT64: Schema = {"type": "string", "pattern": "^-?[0-9]{1,20}$", "format": "int64"}
_SCALARS: dict[int, Schema] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "format": "int32", "minimum": 0},
    FieldDescriptor.TYPE_INT64: INT64,
    FieldDescriptor.TYPE_UINT64: INT64,
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
}
_WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$"},
    "google.protobuf.FieldMask": {"type": "string"},
}


class Schemas:
    """Component schemas, made as they are referred to.

    A `partial` one is of a message that changes another: what it leaves out breaks no rule.
    """

    def __init__(self) -> None:
        self.made: dict[str, Schema] = {}

    def reference(self, message: AnyDescriptor, *, partial: bool = False) -> Schema:
        """A reference to a message's schema."""
        partial = partial and _needs_anything(message)
        name = f"{message.full_name}.partial" if partial else str(message.full_name)
        if name not in self.made:
            self.made[name] = {}  # a message that contains itself finds its name taken
            self.made[name] = self.fields_of(message, partial=partial)
        return {"$ref": f"#/components/schemas/{name}"}

    def fields_of(
        self, message: AnyDescriptor, *, without: frozenset[str] = frozenset(), partial: bool = False
    ) -> Schema:
        """An object of a message's fields, and which of them have to be there."""
        fields = [field for field in message.fields if field.name not in without]
        has_to_be_set = frozenset() if partial else needed(message)
        schema: Schema = {
            "type": "object",
            "properties": {field.name: self.of(field, partial=partial) | described(field) for field in fields},
            "additionalProperties": False,
        }
        if required := [field.name for field in fields if field.name in has_to_be_set]:
            schema["required"] = required
        if choices := [of_choice(one, is_needed=one.name in has_to_be_set) for one in _choices(message)]:
            schema["allOf"] = choices
        if said := comments().get(str(message.full_name)):
            schema["description"] = said
        return schema

    def of(self, field: FieldDescriptor, *, partial: bool = False) -> Schema:
        """The schema of a field's value."""
        rules = field.GetOptions().Extensions[validate_pb2.field]
        if is_map(field):
            return {"type": "object", "additionalProperties": self._single(entry_of(field)[1], rules.map.values)}
        if field.is_repeated:
            return {"type": "array", "items": self._single(field, rules.repeated.items)} | of_list(rules)
        return self._single(field, rules, partial=partial and holds_fields(field))

    def _single(self, field: FieldDescriptor, rules: validate_pb2.FieldRules, *, partial: bool = False) -> Schema:
        if field.enum_type is not None:
            return {"type": "string", "enum": allowed_words(field.enum_type, rules.enum)}
        message: AnyDescriptor = field.message_type
        if message is None:
            return _SCALARS[field.type] | of_value(field, rules)
        if is_well_known(message):
            return _WELL_KNOWN[message.full_name] | of_value(field, rules)
        return self.reference(message, partial=partial)


def described(field: FieldDescriptor) -> Schema:
    """The field's comment as a description."""
    said = comments().get(field.full_name)
    return {"description": said} if said else {}


@cache
def _needs_anything(message: AnyDescriptor) -> bool:
    """Whether the message or one inside it has to have anything set."""
    inner: list[Any] = [field.message_type for field in message.fields if holds_fields(field)]
    return bool(needed(message)) or any(_needs_anything(each) for each in inner)


def _choices(message: AnyDescriptor) -> list[AnyDescriptor]:
    return [oneof for oneof in message.oneofs if len(oneof.fields) > 1]  # an `optional` field is a oneof of its own
