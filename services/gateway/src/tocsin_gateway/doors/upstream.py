"""Calls to the services behind the gateway, for whoever is calling it."""

from collections.abc import Mapping
from datetime import timedelta

import grpc
from google.protobuf.message import Message

from tocsin_kit.rpc.errors import Reason, TocsinError, from_rpc_error

#: Which service serves which package of the contract.
SERVERS = {
    "tocsin.alerts.v1": "evaluator",
    "tocsin.notifications.v1": "dispatcher",
    "tocsin.jobs.v1": "scheduler",
}


def server_of(rpc: str) -> str:
    """The service that serves an RPC, named by its gRPC path. LookupError when none does."""
    package = rpc.removeprefix("/").partition("/")[0].rpartition(".")[0]
    return SERVERS[package]


class Upstream:
    """Channels by service; they carry no token of our own: each call brings its caller's."""

    def __init__(self, channels: Mapping[str, grpc.aio.Channel]) -> None:
        self._channels = channels
        self._calls: dict[str, grpc.aio.UnaryUnaryMultiCallable[Message, Message]] = {}

    async def call(
        self,
        rpc: str,
        request: Message,
        response_type: type[Message],
        *,
        token: str,
        acting_for: str | None = None,
        limit: timedelta,
    ) -> Message:
        """The RPC's answer. `acting_for`: the user whom a SERVICE token names in `Tocsin-User`. Raises TocsinError."""
        metadata = [("authorization", f"Bearer {token}")]
        if acting_for is not None:
            metadata.append(("tocsin-user", acting_for))
        try:
            return await self._callable(rpc, response_type)(
                request, metadata=grpc.aio.Metadata(*metadata), timeout=limit.total_seconds()
            )
        except grpc.aio.AioRpcError as error:
            raise _told(from_rpc_error(error)) from error

    def _callable(self, rpc: str, response_type: type[Message]) -> grpc.aio.UnaryUnaryMultiCallable[Message, Message]:
        if rpc not in self._calls:
            self._calls[rpc] = self._channels[server_of(rpc)].unary_unary(
                rpc, request_serializer=_serialised, response_deserializer=response_type.FromString
            )
        return self._calls[rpc]


def _serialised(message: Message) -> bytes:
    return message.SerializeToString()


def _told(error: TocsinError) -> TocsinError:
    """gRPC's own words for a service that is away quote addresses: those stay inside."""
    if error.reason is Reason.UNAVAILABLE and error.retry_after is None:
        return TocsinError("a part of the service is away for the moment", Reason.UNAVAILABLE)
    return error
