"""The live inbox over real sockets and real NATS."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import aiohttp
import nats
import pytest

from tocsin.events.v1 import events_pb2
from tocsin.notifications.v1 import notification_pb2
from tocsin_kit.rpc.caller import Scope

from .conftest import Gateway

ID = str(UUID(int=1))


@dataclass
class Inbox:
    """One user's inbox at the dispatcher: changes by version, and what was acknowledged."""

    changes: list[notification_pb2.InboxChange] = field(default_factory=list)
    version: int = 0
    unread: int = 0
    acknowledged: list[str] = field(default_factory=list)
    was_acknowledged: asyncio.Event = field(default_factory=asyncio.Event)

    def arrives(self, id_: str, title: str) -> None:
        """A notification arrives."""
        self.version += 1
        self.unread += 1
        told = notification_pb2.Notification(id=id_, title=title, version=self.version)
        self.changes.append(notification_pb2.InboxChange(version=self.version, notification=told))

    def is_deleted(self, id_: str) -> None:
        """A notification is taken out."""
        self.version += 1
        self.changes.append(notification_pb2.InboxChange(version=self.version, deleted_id=id_))

    def serve(self, gateway: Gateway) -> None:
        """Answer for the dispatcher, two changes a page."""

        async def list_changes(
            request: notification_pb2.ListChangesRequest, _metadata: dict[str, str]
        ) -> notification_pb2.ListChangesResponse:
            behind = [change for change in self.changes if change.version > request.since_version]
            page = behind[:2]
            version = page[-1].version if page else request.since_version
            return notification_pb2.ListChangesResponse(
                changes=page, version=version, more=len(behind) > 2, unread_count=self.unread
            )

        async def count(_request: Any, _metadata: dict[str, str]) -> notification_pb2.CountUnreadResponse:
            return notification_pb2.CountUnreadResponse(count=self.unread, version=self.version)

        async def acknowledge(
            request: notification_pb2.AcknowledgeNotificationsRequest, _metadata: dict[str, str]
        ) -> notification_pb2.AcknowledgeNotificationsResponse:
            self.acknowledged.extend(request.ids)
            self.was_acknowledged.set()
            return notification_pb2.AcknowledgeNotificationsResponse(acknowledged=len(request.ids))

        gateway.services.behaviours.update(
            ListChanges=list_changes, CountUnread=count, AcknowledgeNotifications=acknowledge
        )


@pytest.fixture
def inbox(running_gateway: Gateway) -> Inbox:
    """User 1's inbox, served."""
    inbox = Inbox()
    inbox.serve(running_gateway)
    return inbox


@asynccontextmanager
async def socket(gateway: Gateway, **hello: object) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A socket that has said hello."""
    async with gateway.http.ws_connect(gateway.url + "/api/v2/live") as opened:
        await opened.send_json({"type": "hello", "token": gateway.token(), **hello})
        yield opened


async def heard(opened: aiohttp.ClientWebSocketResponse, n: int) -> list[dict[str, Any]]:
    """The next `n` messages."""
    return [json.loads(await opened.receive_str(timeout=10)) for _ in range(n)]


async def close_code(opened: aiohttp.ClientWebSocketResponse) -> int | None:
    """How the gateway ends it."""
    while (await opened.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT:
        pass
    return opened.close_code


async def tell(gateway: Gateway, version: int) -> None:
    """What the dispatcher says on NATS after a change."""
    client = await nats.connect(gateway.nats_url)
    event = events_pb2.InboxChanged(partner_id=1, user_id=1, version=version)
    await client.publish("tocsin.inbox.1.1", event.SerializeToString())
    await client.flush()
    await client.close()


async def test_what_was_missed_comes_on_connect_page_by_page(running_gateway: Gateway, inbox: Inbox) -> None:
    for number in range(3):
        inbox.arrives(str(UUID(int=number)), f"n{number}")
    inbox.is_deleted(ID)
    async with socket(running_gateway, version="1") as opened:
        said = await heard(opened, 5)
    assert [(one["type"], one["version"]) for one in said] == [
        ("notification", "2"),
        ("notification", "3"),
        ("unread", "3"),
        ("deleted", "4"),
        ("unread", "4"),
    ]
    assert (said[0]["notification"]["title"], said[3]["id"], said[4]["count"]) == ("n1", ID, "3")


async def test_a_change_is_pushed_to_all_sockets_of_the_user(running_gateway: Gateway, inbox: Inbox) -> None:
    async with socket(running_gateway) as first, socket(running_gateway) as second:
        # from now on: the first says where it stands, the second that there is nothing behind it
        assert [one["type"] for one in await heard(first, 2) + await heard(second, 2)] == ["unread"] * 4
        inbox.arrives(ID, "Rent is due")
        await tell(running_gateway, inbox.version)
        for opened in (first, second):
            pushed, unread = await heard(opened, 2)
            assert (pushed["type"], pushed["notification"]["title"]) == ("notification", "Rent is due")
            assert (unread["type"], unread["count"], unread["version"]) == ("unread", "1", "1")


async def test_a_repeated_or_old_message_pushes_nothing_twice(running_gateway: Gateway, inbox: Inbox) -> None:
    async with socket(running_gateway) as opened:
        await heard(opened, 2)
        inbox.arrives(ID, "once")
        await tell(running_gateway, 1)
        assert [one["type"] for one in await heard(opened, 2)] == ["notification", "unread"]
        await tell(running_gateway, 1)
        await tell(running_gateway, 0)
        inbox.arrives(ID, "twice")
        await tell(running_gateway, 2)
        titles: list[str] = []
        while titles != ["twice"]:
            (said,) = await heard(opened, 1)
            titles += [said["notification"]["title"]] if said["type"] == "notification" else []


async def test_an_ack_travels_to_the_dispatcher(running_gateway: Gateway, inbox: Inbox) -> None:
    async with socket(running_gateway) as opened:
        await heard(opened, 1)
        await opened.send_json({"type": "ack", "ids": [ID]})
        async with asyncio.timeout(10):
            await inbox.was_acknowledged.wait()
    assert inbox.acknowledged == [ID]


async def test_a_version_from_the_future_means_resync(running_gateway: Gateway, inbox: Inbox) -> None:
    inbox.arrives(ID, "one")
    async with socket(running_gateway, version="99") as opened:
        assert (await heard(opened, 1))[0] == {"type": "resync", "version": "1"}


async def test_the_token_may_come_as_a_subprotocol(running_gateway: Gateway, inbox: Inbox) -> None:
    protocols = ("tocsin.live.v1", f"tocsin.token.{running_gateway.token()}")
    async with running_gateway.http.ws_connect(running_gateway.url + "/api/v2/live", protocols=protocols) as opened:
        assert opened.protocol == "tocsin.live.v1"
        await opened.send_json({"type": "hello"})
        assert (await heard(opened, 1))[0]["type"] == "unread"


async def test_a_socket_ends_with_its_token_unless_a_new_one_came(running_gateway: Gateway, inbox: Inbox) -> None:
    clock = running_gateway.clock
    soon = clock.now() + timedelta(minutes=5)
    async with (
        socket(running_gateway, token=running_gateway.token(expires_at=soon)) as renewed,
        socket(running_gateway, token=running_gateway.token(expires_at=soon)) as left,
    ):
        await heard(renewed, 2)
        await heard(left, 2)
        later = running_gateway.token(expires_at=soon + timedelta(minutes=5))
        await renewed.send_json({"type": "token", "token": later})
        await renewed.send_json({"type": "ack", "ids": [ID]})
        async with asyncio.timeout(10):
            await inbox.was_acknowledged.wait()  # the ack behind it was read, so the token was
        clock.move_to(soon)
        assert await close_code(left) == 4401
        inbox.arrives(ID, "still here")
        await tell(running_gateway, 1)
        assert (await heard(renewed, 1))[0]["type"] == "notification"
        clock.move_to(soon + timedelta(minutes=5))
        assert await close_code(renewed) == 4401


BAD_BEGINNINGS = [
    # first message, how the gateway ends it
    ("nonsense", 4400),
    ('{"type":"ack","ids":["x"]}', 4400),
    ('{"type":"hello","version":"-1"}', 4400),
    ('{"type":"hello"}', 4401),
    ('{"type":"hello","token":"x.y.z"}', 4401),
]


@pytest.mark.parametrize(("said", "code"), BAD_BEGINNINGS)
async def test_a_bad_beginning_ends_the_socket(running_gateway: Gateway, inbox: Inbox, said: str, code: int) -> None:
    async with running_gateway.http.ws_connect(running_gateway.url + "/api/v2/live") as opened:
        await opened.send_str(said)
        assert await close_code(opened) == code


async def test_only_users_have_an_inbox(running_gateway: Gateway, inbox: Inbox) -> None:
    operator = running_gateway.token(scopes=(Scope.ADMIN,))
    async with socket(running_gateway, token=operator) as opened:
        assert await close_code(opened) == 4403
