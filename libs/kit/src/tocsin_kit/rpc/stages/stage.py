"""One call, and the shape of a stage it passes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from tocsin.options.v1 import options_pb2
from tocsin_kit.rpc.caller import Scope

Proceed = Callable[[], Awaitable[Message]]


@dataclass(frozen=True, slots=True)
class Method:
    """An RPC as its descriptor declares it."""

    service: str
    name: str
    scopes: frozenset[Scope]

    @property
    def path(self) -> str:
        """How gRPC addresses it: `/tocsin.jobs.v1.JobService/GetJob`."""
        return f"/{self.service}/{self.name}"


@dataclass(frozen=True, slots=True)
class Call:
    """One call. `metadata` has the text entries the client sent, keys in lower case."""

    method: Method
    request: Message
    metadata: Mapping[str, str]
    context: grpc.aio.ServicerContext[Any, Any]


class Stage(Protocol):
    """Something that is done around a call: raise to end it, or `await proceed()` for the answer."""

    async def __call__(self, call: Call, proceed: Proceed) -> Message:
        """The answer of the call."""
        ...


def scopes_of(descriptor: MethodDescriptor) -> frozenset[Scope]:
    """The scopes that may call a method, from its option `tocsin.options.v1.access`; empty when it has none."""
    access = descriptor.GetOptions().Extensions[options_pb2.access]
    names = (options_pb2.Scope.Name(number) for number in access.scopes)
    return frozenset(Scope(name.removeprefix("SCOPE_").lower()) for name in names)
