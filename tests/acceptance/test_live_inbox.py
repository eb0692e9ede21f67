"""The live inbox lights up: pushed as it happens, shown means delivered, missed means caught up on."""

import asyncio
import json
from typing import Any

import aiohttp

from tests.acceptance.conftest import OpenTimetable
from tests.acceptance.timetable import USER, Timetable


async def connected(day: Timetable, version: str | None = None) -> aiohttp.ClientWebSocketResponse:
    """A live socket of the user's."""
    socket = await day.stack.http.ws_connect(day.stack.base_url + "/api/v2/live")
    hello: dict[str, Any] = {"type": "hello", "token": day.stack.user_token(USER)}
    await socket.send_json(hello if version is None else {**hello, "version": version})
    return socket


async def said(socket: aiohttp.ClientWebSocketResponse, kind: str) -> dict[str, Any]:
    """The next message of a kind."""
    while True:
        message: dict[str, Any] = json.loads(await socket.receive_str(timeout=10))
        if message["type"] == kind:
            return message


async def in_app(day: Timetable) -> str:
    """The state of the newest notification's in-app delivery."""
    newest = (await day.inbox())[0]
    return next(str(one["status"]) for one in newest["deliveries"] if one["channel"] == "in_app")


async def test_a_firing_is_pushed_and_an_ack_delivers_it(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.post(day.goal("100.00"))
        await day.alert(goal={"goal_id": "21"}, email_delivery=False)
        socket = await connected(day)
        assert (await said(socket, "unread"))["count"] == "0"
        await day.at("09:05", day.goal("500.00"))
        await day.want("inbox: Goal reached: 50%")
        pushed = await said(socket, "notification")
        assert pushed["notification"]["title"] == "Goal reached: 50%"
        await socket.send_json({"type": "ack", "ids": [pushed["notification"]["id"]]})
        async with asyncio.timeout(20):
            while await in_app(day) != "delivered":
                await day.stack.settle()
        await socket.close()


async def test_who_was_away_gets_what_changed_and_only_that(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.post(day.goal("100.00"))
        await day.alert(goal={"goal_id": "21"}, email_delivery=False)
        await day.at("09:05", day.goal("300.00"))
        await day.want("inbox: Goal reached: 25%")
        socket = await connected(day, version="0")
        first = await said(socket, "notification")
        version = (await said(socket, "unread"))["version"]
        await socket.close()

        await day.must("PUT", f"/api/v2/notifications/{first['notification']['id']}/read")
        await day.at("09:10", day.goal("800.00"))
        await day.want("inbox: Goal reached: 75%")
        socket = await connected(day, version=version)
        assert (await said(socket, "read"))["notification"]["id"] == first["notification"]["id"]
        assert (await said(socket, "notification"))["notification"]["title"] == "Goal reached: 75%"
        assert (await said(socket, "unread"))["count"] == "1"

        await day.must("DELETE", f"/api/v2/notifications/{first['notification']['id']}")
        assert (await said(socket, "deleted"))["id"] == first["notification"]["id"]
        await socket.close()
        day.forgive()
