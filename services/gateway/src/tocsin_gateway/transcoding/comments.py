"""The contract's comments, by full name: from the image that ships beside the generated code."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

# Field numbers of descriptor.proto, by which source locations name their place.
_MESSAGE, _ENUM, _SERVICE = 4, 5, 6
_FIELD, _NESTED, _NESTED_ENUM, _VALUE, _METHOD = 2, 3, 4, 2, 2


@cache
def comments() -> dict[str, str]:
    """Comment by full name of message, field, enum, value, service and method; on one line."""
    image = FileDescriptorSet.FromString((files("tocsin") / "contract.binpb").read_bytes())
    return {name: text for file in image.file for name, text in _of_file(file)}


def _of_file(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    said = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
    for path, name in _places(file):
        if text := " ".join(said.get(path, "").split()):
            yield name, text


def _places(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    for number, message in enumerate(file.message_type):
        yield from _of_message((_MESSAGE, number), f"{file.package}.{message.name}", message)
    for number, enum in enumerate(file.enum_type):
        yield from _of_enum((_ENUM, number), f"{file.package}.{enum.name}", enum)
    for number, service in enumerate(file.service):
        name = f"{file.package}.{service.name}"
        yield (_SERVICE, number), name
        for inner, method in enumerate(service.method):
            yield (_SERVICE, number, _METHOD, inner), f"{name}.{method.name}"


def _of_message(path: tuple[int, ...], name: str, message: Any) -> Iterator[tuple[tuple[int, ...], str]]:
    yield path, name
    for number, field in enumerate(message.field):
        yield (*path, _FIELD, number), f"{name}.{field.name}"
    for number, nested in enumerate(message.nested_type):
        yield from _of_message((*path, _NESTED, number), f"{name}.{nested.name}", nested)
    for number, enum in enumerate(message.enum_type):
        yield from _of_enum((*path, _NESTED_ENUM, number), f"{name}.{enum.name}", enum)


def _of_enum(path: tuple[int, ...], name: str, enum: Any) -> Iterator[tuple[tuple[int, ...], str]]:
    yield path, name
    for number, value in enumerate(enum.value):
        yield (*path, _VALUE, number), f"{name}.{value.name}"
