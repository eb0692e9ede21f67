"""NotificationService: a user's inbox."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from tocsin.notifications.v1 import notification_pb2, notification_pb2_grpc
from tocsin_dispatcher.announcing import Announcer, DeliveryChange, TellInbox
from tocsin_dispatcher.doors.paging import place_of, size_of, token_of
from tocsin_dispatcher.doors.translate import context_to_proto
from tocsin_dispatcher.doors.vocabulary import (
    channel_to_proto,
    kind_of,
    kind_to_proto,
    reason_to_proto,
    state_to_proto,
)
from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.store import notifications as inbox
from tocsin_dispatcher.store.database import Connection, Engine, in_transaction
from tocsin_dispatcher.store.notifications import Filters, InboxDelivery, InboxNotification, Marked
from tocsin_dispatcher.values import Channel, WorkClass
from tocsin_kit.clock import Clock
from tocsin_kit.rpc.caller import current_caller
from tocsin_kit.rpc.errors import not_found

Context = grpc.aio.ServicerContext[Any, Any]
GetTimeline = Callable[[notification_pb2.GetTimelineRequest], Awaitable[notification_pb2.GetTimelineResponse]]


class NotificationServicer(notification_pb2_grpc.NotificationServiceServicer):
    """Every statement behind it is scoped to the caller."""

    def __init__(
        self, engine: Engine, announcer: Announcer, tell_inbox: TellInbox, clock: Clock, timeline: GetTimeline
    ) -> None:
        """`timeline` answers what happened to a notification (`timeline.py`)."""
        self._engine, self._announcer, self._tell_inbox, self._clock = engine, announcer, tell_inbox, clock
        self._timeline = timeline

    async def ListNotifications(
        self, request: notification_pb2.ListNotificationsRequest, context: Context
    ) -> notification_pb2.ListNotificationsResponse:
        """A page, newest first."""
        size = size_of(request.page_size)
        after = place_of(request.page_token)
        async with self._engine.connect() as connection:
            found = await inbox.list_notifications(connection, _user(), _filters(request), size + 1, after)
        page = found[:size]
        more = token_of(page[-1].created_at, page[-1].id) if len(found) > size else ""
        return notification_pb2.ListNotificationsResponse(
            notifications=[notification_to_proto(one) for one in page], next_page_token=more
        )

    async def GetNotification(
        self, request: notification_pb2.GetNotificationRequest, context: Context
    ) -> notification_pb2.GetNotificationResponse:
        """One. Raises not_found."""
        async with self._engine.connect() as connection:
            found = await self._get(connection, UUID(request.id))
        return notification_pb2.GetNotificationResponse(notification=notification_to_proto(found))

    async def MarkRead(
        self, request: notification_pb2.MarkReadRequest, context: Context
    ) -> notification_pb2.MarkReadResponse:
        """Mark one read; what is read has been delivered. Raises not_found."""
        user, id_, now = _user(), UUID(request.id), self._clock.now()

        async def work(connection: Connection) -> tuple[InboxNotification, Marked, list[DeliveryChange]]:
            marked = await inbox.mark_read(connection, user, id_, now)
            changes = await self._shown(connection, user, [id_], now)
            return await self._get(connection, id_), marked, changes

        found, marked, changes = await in_transaction(self._engine, work)
        await self._tell(user, marked, changes)
        return notification_pb2.MarkReadResponse(notification=notification_to_proto(found))

    async def MarkAllRead(
        self, request: notification_pb2.MarkAllReadRequest, context: Context
    ) -> notification_pb2.MarkAllReadResponse:
        """Mark every unread one read."""
        user, now = _user(), self._clock.now()

        async def work(connection: Connection) -> tuple[Marked, list[DeliveryChange]]:
            marked, ids = await inbox.mark_all_read(connection, user, now)
            return marked, await self._shown(connection, user, ids, now)

        marked, changes = await in_transaction(self._engine, work)
        await self._tell(user, marked, changes)
        return notification_pb2.MarkAllReadResponse(marked=marked.count, version=marked.version)

    async def DeleteNotification(
        self, request: notification_pb2.DeleteNotificationRequest, context: Context
    ) -> notification_pb2.DeleteNotificationResponse:
        """Take one out. Raises not_found."""
        user, id_, now = _user(), UUID(request.id), self._clock.now()
        marked = await in_transaction(
            self._engine, lambda connection: inbox.delete_notification(connection, user, id_, now)
        )
        if not marked.count:
            raise not_found("notification")
        await self._tell(user, marked, [])
        return notification_pb2.DeleteNotificationResponse()

    async def CountUnread(
        self, request: notification_pb2.CountUnreadRequest, context: Context
    ) -> notification_pb2.CountUnreadResponse:
        """How many are unread."""
        async with self._engine.connect() as connection:
            stands = await inbox.unread_of(connection, _user())
        return notification_pb2.CountUnreadResponse(count=stands.count, version=stands.version)

    async def ListChanges(
        self, request: notification_pb2.ListChangesRequest, context: Context
    ) -> notification_pb2.ListChangesResponse:
        """What changed since a version, oldest change first."""
        user, size = _user(), size_of(request.page_size)
        async with self._engine.connect() as connection:
            stands = await inbox.unread_of(connection, user)
            found = await inbox.list_changes(connection, user, request.since_version, size + 1)
        page, more = found[:size], len(found) > size
        reached = max([request.since_version, *(one.version for one in page)])
        return notification_pb2.ListChangesResponse(
            changes=[_change(one) for one in page],
            version=reached if more else max(reached, stands.version),
            more=more,
            unread_count=stands.count,
        )

    async def AcknowledgeNotifications(
        self, request: notification_pb2.AcknowledgeNotificationsRequest, context: Context
    ) -> notification_pb2.AcknowledgeNotificationsResponse:
        """They were shown: their in-app deliveries are delivered."""
        user, now, ids = _user(), self._clock.now(), sorted({UUID(id_) for id_ in request.ids})
        changes = await in_transaction(self._engine, lambda connection: self._shown(connection, user, ids, now))
        self._announcer.wrote(changes)
        return notification_pb2.AcknowledgeNotificationsResponse(acknowledged=len(changes))

    async def GetTimeline(
        self, request: notification_pb2.GetTimelineRequest, context: Context
    ) -> notification_pb2.GetTimelineResponse:
        """Everything that happened to one."""
        return await self._timeline(request)

    async def _get(self, connection: Connection, id_: UUID) -> InboxNotification:
        found = await inbox.get_notification(connection, _user(), id_)
        if found is None:
            raise not_found("notification")
        return found

    async def _shown(
        self, connection: Connection, user: UserKey, ids: list[UUID], now: datetime
    ) -> list[DeliveryChange]:
        changes = [
            DeliveryChange(
                partner_id=user.partner_id,
                delivery_id=row.id,
                user_id=user.user_id,
                notification_id=row.notification_id,
                channel=Channel.IN_APP,
                work_class=WorkClass(getattr(row, "class")),
                status=DeliveryState.DELIVERED,
                reason=None,
                attempt=row.attempt,
                at=now,
                traceparent=row.traceparent,
                tracestate=row.tracestate,
            )
            for row in await inbox.mark_shown(connection, user, ids, now)
        ]
        await self._announcer.add(connection, changes, now)
        return changes

    async def _tell(self, user: UserKey, marked: Marked, changes: list[DeliveryChange]) -> None:
        self._announcer.wrote(changes)
        if marked.count:
            await self._tell_inbox([(user, marked.version)])


def _user() -> UserKey:
    return UserKey(*current_caller().require_user())


def _filters(request: notification_pb2.ListNotificationsRequest) -> Filters:
    return Filters(
        unread=request.unread if request.HasField("unread") else None,
        kind=kind_of(request.alert_type) if request.alert_type else None,
        alert_id=request.alert_id or None,
        critical=request.critical if request.HasField("critical") else None,
        words=request.q.strip() or None,
        since=request.created_since.ToDatetime(UTC) if request.HasField("created_since") else None,
        until=request.created_until.ToDatetime(UTC) if request.HasField("created_until") else None,
    )


def _change(one: InboxNotification) -> notification_pb2.InboxChange:
    if one.deleted_at is not None:
        return notification_pb2.InboxChange(version=one.version, deleted_id=str(one.id))
    return notification_pb2.InboxChange(version=one.version, notification=notification_to_proto(one))


def notification_to_proto(one: InboxNotification) -> notification_pb2.Notification:
    """A notification as the contract shows it."""
    return notification_pb2.Notification(
        id=str(one.id),
        alert_id=one.alert_id,
        alert_type=kind_to_proto(one.kind),
        title=one.title,
        message=one.message,
        action_url=one.action_url,
        metadata=context_to_proto(one.context),
        critical=one.critical,
        created_at=timestamp(one.created_at),
        read_at=timestamp(one.read_at),
        deliveries=[_delivery(delivery) for delivery in one.deliveries],
        version=one.version,
    )


def _delivery(one: InboxDelivery) -> notification_pb2.NotificationDelivery:
    return notification_pb2.NotificationDelivery(
        channel=channel_to_proto(one.channel),
        status=state_to_proto(one.status),
        reason=reason_to_proto(one.reason),
        created_at=timestamp(one.created_at),
        due_at=timestamp(one.due_at),
        sent_at=timestamp(one.sent_at),
        delivered_at=timestamp(one.delivered_at),
        failed_at=timestamp(one.failed_at),
    )


def timestamp(instant: datetime | None) -> Timestamp | None:
    """The instant as protobuf; None stays unset."""
    if instant is None:
        return None
    made = Timestamp()
    made.FromDatetime(instant)
    return made
