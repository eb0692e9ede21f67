"""Finding fields of a message by dotted path, as path variables, query parameters and field masks name them."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from google.protobuf.descriptor import FieldDescriptor

from tocsin_gateway.transcoding.values import Json, is_well_known

#: The C implementation's descriptors are typed apart from those in google.protobuf.descriptor.
AnyDescriptor: TypeAlias = Any
FIELD_MASK = "google.protobuf.FieldMask"
#: Filled from the `Idempotency-Key` header.
REQUEST_ID = "request_id"


def is_map(field: FieldDescriptor) -> bool:
    """Whether the field is a map."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def entry_of(field: FieldDescriptor) -> tuple[FieldDescriptor, FieldDescriptor]:
    """A map's key and value."""
    entry: AnyDescriptor = field.message_type
    return entry.fields_by_name["key"], entry.fields_by_name["value"]


def holds_fields(field: FieldDescriptor) -> bool:
    """Whether the field is a single message whose own fields can be named."""
    message = field.message_type
    return message is not None and not field.is_repeated and not is_well_known(message)


def field_at(message: AnyDescriptor, path: str) -> FieldDescriptor | None:
    """The field that a dotted path names, through single messages only; None where there is none."""
    *outer, last = path.split(".")
    for name in outer:
        field = message.fields_by_name.get(name)
        if field is None or not holds_fields(field):
            return None
        message = field.message_type
    found: FieldDescriptor | None = message.fields_by_name.get(last)
    return found


def values_below(message: AnyDescriptor, prefix: str = "") -> Iterator[tuple[str, FieldDescriptor]]:
    """Dotted path and field of what a query may carry: values and lists of values, no maps, no lists of messages."""
    for field in message.fields:
        path = prefix + field.name
        if holds_fields(field):
            # One level is all that any request nests; a message that contains itself would never end.
            if prefix == "":
                yield from values_below(field.message_type, path + ".")
        elif field.message_type is None or (is_well_known(field.message_type) and not field.is_repeated):
            yield path, field


def mask_of(message: AnyDescriptor, body: Mapping[str, Json], prefix: str = "") -> list[str]:
    """The paths a PATCH body changes: its keys, dotted down to the innermost that are named.

    A key that is null, an empty object, a list or a map names itself.
    """
    paths: list[str] = []
    for name, value in body.items():
        field = message.fields_by_name.get(name)
        if field is not None and holds_fields(field) and isinstance(value, Mapping) and value:
            paths += mask_of(field.message_type, value, f"{prefix}{name}.")
        else:
            paths.append(prefix + name)
    return paths
