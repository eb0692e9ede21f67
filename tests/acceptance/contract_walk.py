"""Walking over the RPCs that the contract has: requests made by descriptor, calls, and what an answer tells.

An id field is filled by its name (`account_id`). A field that is only called `id` is that of its message (the `id` of
an Account is an `account_id`) or, in a request, that of what its service keeps (in a GetAlertRequest an `alert_id`).
An id that is not known raises UnknownId, so a new RPC needs no edit here unless it brings a new sort of id. All other
fields stay unset, except where the contract's rules want a value.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from protovalidate import Validator

from tocsin_devstack.stack import Metadata, Stack
from tocsin_gateway.doors.upstream import server_of
from tocsin_gateway.transcoding.contract import all_services
from tocsin_kit.rpc.caller import Scope
from tocsin_kit.rpc.stages.stage import scopes_of

#: Ids by the name of their field; a request made in several variants takes them in turn.
Ids = Mapping[str, Sequence[int | str]]

_ID = re.compile(r"(?:(?P<thing>\w+)_)?ids?")
_EXAMPLES: Mapping[int, tuple[object, ...]] = {
    FieldDescriptor.CPPTYPE_STRING: (
        *("Corner Market", "1.00", "USD", "2025-11-03", "https://fcm.googleapis.com/fcm/send/1"),
        # a browser's key and its secret, of RFC 8291, 5
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "BTBZMqHH6r4Tts7J_aSIgg",
        "482913",  # a code
        "ann@example.com",
    ),
    FieldDescriptor.CPPTYPE_INT32: (1,),
    FieldDescriptor.CPPTYPE_INT64: (1,),
}


class UnknownId(KeyError):
    """A field holds an id of which no example is known."""


@dataclass(frozen=True)
class Rpc:
    """A method of the contract."""

    method: MethodDescriptor

    @property
    def name(self) -> str:
        """Such as `tocsin.alerts.v1.AlertService.GetAlert`."""
        return str(self.method.full_name)

    @property
    def scopes(self) -> frozenset[Scope]:
        """Who may call it."""
        return scopes_of(self.method)

    @property
    def shows(self) -> bool:
        """Whether it only reads."""
        return self.method.name.startswith(("Get", "List"))

    @property
    def destroys(self) -> bool:
        """Whether it takes away what others read: a profile made here has no address."""
        return self.method.name.startswith(("Delete", "PutProfiles"))

    async def call(
        self, stack: Stack, metadata: Metadata, request: Message | None = None
    ) -> tuple[grpc.StatusCode, Message | None]:
        """The status and, where it is OK, the answer; without a request an empty one is sent."""
        path = f"/{self.method.containing_service.full_name}/{self.method.name}"
        call: grpc.aio.UnaryUnaryMultiCallable[Message, Message] = stack.channels[server_of(path)].unary_unary(
            path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(self.method.output_type).FromString,
        )
        sent = GetMessageClass(self.method.input_type)() if request is None else request
        try:
            return grpc.StatusCode.OK, await call(sent, metadata=metadata, timeout=10)
        except grpc.aio.AioRpcError as error:
            return error.code(), None

    def requests(self, ids: Ids) -> list[Message]:
        """A request for each alternative of its oneofs and necessary enums, and for each id."""
        thing = _snake(self.method.containing_service.name.removesuffix("Service"))
        first = _filled(self.method.input_type, _Filling(ids, thing, 0))
        made = [first]
        for variant in count(1):
            request = _filled(self.method.input_type, _Filling(ids, thing, variant))
            if _said_by(request) == _said_by(first):
                return made
            made.append(request)
        raise AssertionError


def rpcs() -> list[Rpc]:
    """Every RPC of the contract."""
    return [Rpc(method) for service in all_services() for method in service.methods]


def ids_in(message: Message) -> Iterator[tuple[str, int | str]]:
    """Every id in an answer with the name of its field, as in `Ids`."""
    for field, value in message.ListFields():
        if _is_map(field):
            continue
        values = value if field.is_repeated else [value]
        if field.message_type is not None:
            for inner in values:
                yield from ids_in(inner)
        elif (name := _id_name(field, "")) is not None:
            for one in values:
                yield name, one


@dataclass(frozen=True)
class _Filling:
    ids: Ids
    thing: str  # what `id` means in a request
    variant: int

    def id(self, name: str) -> int | str:
        if name not in self.ids:
            raise UnknownId(f"no example of {name} is known")
        turn, place = divmod(self.variant, len(self.ids[name]))
        value = self.ids[name][place]
        # a request id names one request: with more variants than ids, the next turn has ids of its own
        return f"{value}, turn {turn}" if name == "request_id" and turn else value


def _said_by(request: Message) -> bytes:
    """What a request says, whatever its sender calls it."""
    said = type(request)()
    said.CopyFrom(request)
    if "request_id" in request.DESCRIPTOR.fields_by_name:
        said.ClearField("request_id")
    return said.SerializeToString(deterministic=True)


def _filled(kind: Descriptor, filling: _Filling) -> Message:
    message: Message = GetMessageClass(kind)()
    for field in _chosen(kind, filling.variant):
        name = _id_name(field, filling.thing)
        if name is not None:
            _put(message, field, filling.id(name))
        elif _is_map(field):
            continue  # says more of what the other fields say
        elif field.message_type is not None and not _is_well_known(field.message_type):
            _put(message, field, _filled(field.message_type, filling))
        elif _choice_of(field) is not None and field.message_type is not None:
            getattr(message, field.name).SetInParent()
        elif _choice_of(field) is not None:
            setattr(message, field.name, _examples(field, filling.variant)[0])
    _make_valid(message, kind, filling.variant)
    return message


def _chosen(kind: Descriptor, variant: int) -> list[FieldDescriptor]:
    """All fields, but of each oneof only the variant's."""
    choices = {field.name: _choice_of(field) for field in kind.fields}
    return [
        field
        for field in kind.fields
        if (choice := choices[field.name]) is None or field is choice[variant % len(choice)]
    ]


def _choice_of(field: FieldDescriptor) -> Sequence[FieldDescriptor] | None:
    """The alternatives a field is one of; a lone optional field is none."""
    oneof = field.containing_oneof
    return None if oneof is None or oneof.name == f"_{field.name}" else oneof.fields


def _id_name(field: FieldDescriptor, thing: str) -> str | None:
    found = _ID.fullmatch(field.name)
    if found is None:
        return None
    owner = field.containing_type.name if field.containing_type is not None else ""
    if field.name == "partner_id" and owner.endswith("Request"):
        return None  # the token says it; only who belongs to no bank names one, and is not walked
    own = thing if owner.endswith("Request") else _snake(owner)
    return f"{found['thing'] or own}_id"


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _is_well_known(kind: Descriptor) -> bool:
    return kind.full_name.startswith("google.protobuf.")


def _put(message: Message, field: FieldDescriptor, value: Any) -> None:
    if field.is_repeated:
        getattr(message, field.name).append(value)
    elif isinstance(value, Message):
        getattr(message, field.name).CopyFrom(value)
    else:
        setattr(message, field.name, value)


def _make_valid(message: Message, kind: Descriptor, variant: int) -> None:
    """Give what the contract's rules find wrong the first example that they find right."""
    wrong = _wrong(message)
    for field in kind.fields:
        if field.name in wrong:
            _put_right(message, field.name, _examples(field, variant))


def _put_right(message: Message, name: str, examples: Sequence[object]) -> None:
    for example in examples:
        setattr(message, name, example)
        if name not in _wrong(message):
            return


def _examples(field: FieldDescriptor, variant: int) -> Sequence[object]:
    if field.enum_type is None:
        return _EXAMPLES[field.cpp_type]
    numbers = [value.number for value in field.enum_type.values if value.number]
    turn = variant % len(numbers)
    return [*numbers[turn:], *numbers[:turn]]


def _wrong(message: Message) -> set[str]:
    paths = [violation.proto.field for violation in _validator().collect_violations(message)]
    return {path.elements[0].field_name for path in paths if path is not None}


@cache
def _validator() -> Validator:
    return Validator()


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
