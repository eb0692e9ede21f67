"""How an RPC is called, whoever carries it."""

from collections.abc import Awaitable
from datetime import timedelta
from typing import Protocol

from google.protobuf.message import Message


class Call(Protocol):
    """Calls an RPC of the services; `doors.upstream.Upstream.call` is one."""

    def __call__(
        self,
        rpc: str,
        request: Message,
        response_type: type[Message],
        *,
        token: str,
        acting_for: str | None,
        limit: timedelta,
    ) -> Awaitable[Message]: ...
