"""The live inbox's sources: the dispatcher's NotificationService and core NATS `tocsin.inbox.<partner>.<user>`."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TypeVar, cast

import nats.errors
import structlog
from google.protobuf.message import DecodeError, Message

from tocsin.events.v1 import events_pb2
from tocsin.notifications.v1 import notification_pb2
from tocsin_gateway.doors.upstream import Upstream
from tocsin_gateway.live import protocol
from tocsin_gateway.live.feeds import Subscribe, Unsubscribe
from tocsin_gateway.live.sockets import Changes
from tocsin_gateway.transcoding.codec import Codec
from tocsin_gateway.transcoding.values import Json
from tocsin_kit.messaging.broker import Broker

_SERVICE = "/tocsin.notifications.v1.NotificationService"
_LIMIT = timedelta(seconds=10)
_PAGE = 200
_log = structlog.get_logger(__name__)
Response = TypeVar("Response", bound=Message)


class NotificationInbox:
    """A user's inbox, asked with that user's token."""

    def __init__(self, upstream: Upstream, codec: Codec) -> None:
        self._upstream, self._codec = upstream, codec

    async def changes(self, token: str, since: int) -> Changes:
        """One page of what lies behind version `since`."""
        request = notification_pb2.ListChangesRequest(since_version=since, page_size=_PAGE)
        page = await self._ask("ListChanges", request, notification_pb2.ListChangesResponse, token)
        return Changes([self._news(change) for change in page.changes], page.version, page.more, page.unread_count)

    async def unread(self, token: str) -> tuple[int, int]:
        """(count, version) at present."""
        request = notification_pb2.CountUnreadRequest()
        answer = await self._ask("CountUnread", request, notification_pb2.CountUnreadResponse, token)
        return answer.count, answer.version

    async def acknowledge(self, token: str, ids: Sequence[str]) -> None:
        """These were shown."""
        request = notification_pb2.AcknowledgeNotificationsRequest(ids=ids)
        await self._ask("AcknowledgeNotifications", request, notification_pb2.AcknowledgeNotificationsResponse, token)

    async def _ask(self, method: str, request: Message, kind: type[Response], token: str) -> Response:
        answer = await self._upstream.call(f"{_SERVICE}/{method}", request, kind, token=token, limit=_LIMIT)
        return cast(Response, answer)

    def _news(self, change: notification_pb2.InboxChange) -> Json:
        if change.WhichOneof("change") == "deleted_id":
            return protocol.deleted(change.deleted_id, change.version)
        is_read = change.notification.HasField("read_at")
        return protocol.notification(self._codec.to_json(change.notification), change.version, is_read=is_read)


def subscriber(broker: Broker) -> Subscribe:
    """Subscribes to users' inboxes at the broker."""

    async def subscribe(partner_id: int, user_id: int, heard: Callable[[int], Awaitable[None]]) -> Unsubscribe:
        async def hear(data: bytes) -> None:
            try:
                changed = events_pb2.InboxChanged.FromString(data)
            except DecodeError:
                _log.error("inbox_event_unreadable")
                return
            await heard(changed.version)

        subscription = await broker.subscribe_core(f"tocsin.inbox.{partner_id}.{user_id}", hear)

        async def unsubscribe() -> None:
            try:
                await subscription.unsubscribe()
            except nats.errors.Error as error:
                raise ConnectionError("the broker is away") from error

        return unsubscribe

    return subscribe
