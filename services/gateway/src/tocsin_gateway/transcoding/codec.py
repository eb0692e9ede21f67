"""JSON codecs for message types, compiled once per type: a table of small functions instead of a walk over descriptors.

A writer turns a message into what `json` prints, a reader turns what `json` read into what the message's constructor
takes. Fields without presence are always written, as clients expect of a list or a flag; an enum that says nothing and
a message or `optional` that is not set are left out. Unknown names are refused: a misspelt field is an error the
caller sees, not a default nobody asked for.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

import orjson
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tocsin_gateway.transcoding.fields import AnyDescriptor, entry_of, is_map
from tocsin_gateway.transcoding.values import (
    InvalidValue,
    Json,
    Read,
    Write,
    is_well_known,
    reader_of,
    well_known_reader,
    well_known_writer,
    writer_of,
)

M = TypeVar("M", bound=Message)


class Codec:
    """The compiled writers and readers, by message type. One per process; compiling is lazy and remembered."""

    def __init__(self) -> None:
        self._writers: dict[AnyDescriptor, _Writer] = {}
        self._readers: dict[AnyDescriptor, _Reader] = {}

    def encode(self, message: Message) -> bytes:
        """The message as JSON text, UTF-8."""
        return text(self.to_json(message))

    def decode(self, message_type: type[M], body: bytes) -> M:
        """The message that this JSON text says; InvalidValue where it says none."""
        return self.from_json(message_type, parse(body))

    def to_json(self, message: Message) -> Json:
        """The message as plain JSON values."""
        return self.writer(message.DESCRIPTOR)(message)

    def from_json(self, message_type: type[M], value: Json) -> M:
        """The message that these plain JSON values say; InvalidValue names the first field that does not fit."""
        return message_type(**self.reader(message_type.DESCRIPTOR)(value))

    def value_to_json(self, field: FieldDescriptor, value: Any) -> Json:
        """One field's value alone, as `response_body` asks for."""
        write = self._write_of(field)
        return value if write is None else write(value)

    def writer(self, descriptor: AnyDescriptor) -> "_Writer":
        """The compiled writer of a type; entered before its fields, since messages may contain themselves."""
        writer = self._writers.get(descriptor)
        if writer is None:
            writer = self._writers[descriptor] = _Writer()
            writer.defaults = {
                field.name: _default(field)
                for field in descriptor.fields
                if not field.has_presence and not _says_nothing(field)
            }
            writer.steps = {field: (field.name, self._write_of(field)) for field in descriptor.fields}
        return writer

    def reader(self, descriptor: AnyDescriptor) -> "_Reader":
        """The compiled reader of a type."""
        reader = self._readers.get(descriptor)
        if reader is None:
            reader = self._readers[descriptor] = _Reader()
            reader.fields = {field.name: self._read_of(field) for field in descriptor.fields}
            reader.choices = tuple(
                frozenset(field.name for field in oneof.fields)
                for oneof in descriptor.oneofs
                if len(oneof.fields) > 1  # an `optional` field is a oneof of its own
            )
        return reader

    def _write_of(self, field: FieldDescriptor) -> Write | None:
        if is_map(field):
            keys, values = entry_of(field)
            return _map_writer(keys, self._write_one(values))
        one = self._write_one(field)
        return _list_writer(one) if field.is_repeated else one

    def _write_one(self, field: FieldDescriptor) -> Write | None:
        if field.message_type is None:
            return writer_of(field)
        if is_well_known(field.message_type):
            return well_known_writer(field.message_type)
        return self.writer(field.message_type)

    def _read_of(self, field: FieldDescriptor) -> Read:
        if is_map(field):
            keys, values = entry_of(field)
            return _map_reader(keys, self._read_one(values))
        one = self._read_one(field)
        return _list_reader(one) if field.is_repeated else one

    def _read_one(self, field: FieldDescriptor) -> Read:
        if field.message_type is None:
            return reader_of(field)
        if is_well_known(field.message_type):
            return well_known_reader(field.message_type)
        return self.reader(field.message_type)


class _Writer:
    """Starts from what an empty message says and visits the fields that are set: most messages are sparse."""

    __slots__ = ("defaults", "steps")
    defaults: dict[str, Json]
    steps: dict[FieldDescriptor, tuple[str, Write | None]]

    def __call__(self, message: Message) -> dict[str, Json]:
        out = self.defaults.copy()
        steps = self.steps
        for field, value in message.ListFields():
            name, write = steps[field]
            out[name] = value if write is None else write(value)
        return out


class _Reader:
    __slots__ = ("choices", "fields")
    fields: dict[str, Read]
    choices: tuple[frozenset[str], ...]

    def __call__(self, value: Json) -> dict[str, Any]:
        if type(value) is not dict:
            raise InvalidValue("must be an object")
        out: dict[str, Any] = {}
        fields = self.fields
        for name, item in value.items():
            read = fields.get(name)
            if read is None:
                raise InvalidValue("is not a field here", name)
            if item is not None:
                try:
                    out[name] = read(item)
                except InvalidValue as error:
                    error.inside(name)
                    raise
        for choice in self.choices:
            _at_most_one(out, choice)
        return out


def parse(body: bytes) -> Json:
    """JSON text (RFC 8259) to plain values; InvalidValue for anything else. The last of a repeated name counts."""
    try:
        value: Json = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidValue("is no JSON") from error
    return value


def text(value: Json) -> bytes:
    """Plain values to JSON text, UTF-8."""
    return orjson.dumps(value)


def _at_most_one(values: dict[str, Any], choice: Iterable[str]) -> None:
    named = [name for name in values if name in choice]
    if len(named) > 1:
        raise InvalidValue(f"cannot be set together with {named[0]}", named[1])


def _says_nothing(field: FieldDescriptor) -> bool:
    return field.enum_type is not None and not field.is_repeated and not field.has_presence


def _default(field: FieldDescriptor) -> Json:
    if field.is_repeated:
        return {} if is_map(field) else []
    write = writer_of(field)
    zero: Json = field.default_value
    return zero if write is None else write(zero)


def _list_writer(one: Write | None) -> Write:
    return list if one is None else lambda values: [one(value) for value in values]


def _map_writer(keys: FieldDescriptor, one: Write | None) -> Write:
    name = _flag_word if keys.type == FieldDescriptor.TYPE_BOOL else str
    return lambda values: {name(key): value if one is None else one(value) for key, value in values.items()}


def _flag_word(value: bool) -> str:
    return "true" if value else "false"


def _list_reader(one: Read) -> Read:
    def read(value: Json) -> list[Any]:
        if type(value) is not list:
            raise InvalidValue("must be a list")
        out: list[Any] = []
        try:
            for item in value:
                out.append(one(item))  # noqa: PERF401 -- the length so far names the place that failed
        except InvalidValue as error:
            error.inside(f"[{len(out)}]")
            raise
        return out

    return read


def _map_reader(keys: FieldDescriptor, one: Read) -> Read:
    read_key: Read = _flag_of if keys.type == FieldDescriptor.TYPE_BOOL else reader_of(keys)

    def read(value: Json) -> dict[Any, Any]:
        if type(value) is not dict:
            raise InvalidValue("must be an object")
        out: dict[Any, Any] = {}
        for name, item in value.items():
            try:
                out[read_key(name)] = one(item)
            except InvalidValue as error:
                error.inside(name)
                raise
        return out

    return read


def _flag_of(word: Json) -> bool:
    if word in ("true", "false"):
        return word == "true"
    raise InvalidValue("must be true or false")
