"""What nobody could take in is kept, looked at by an operator, and taken in after all."""

import base64
import json
from typing import Any

import nats

from tests.acceptance.conftest import OpenTimetable
from tests.acceptance.timetable import Timetable
from tocsin.events.v1 import events_pb2

START = "2025-11-03 09:00"
LIMIT = {"amount": "100.00", "currency": "USD"}
LETTERS = "/api/v2/admin/dead-letters"


async def ask(day: Timetable, method: str, path: str = "", body: object = None) -> Any:
    """Call as an operator; the body of what must be a success."""
    return await day.must(method, LETTERS + path, body, day.stack.admin_token())


async def published(day: Timetable, subject: str, data: bytes, message_id: str) -> None:
    """Somebody publishes a message inside, which is under way until it is judged."""
    day.stack.activity.begun(f"stream.{subject.split('.')[1].upper()}")
    client = await nats.connect(day.stack.nats_url)
    try:
        await client.jetstream().publish(subject, data, headers={"Nats-Msg-Id": message_id})
    finally:
        await client.close()


async def letters(day: Timetable) -> list[dict[str, Any]]:
    """The dead letters, newest first, when all is quiet."""
    await day.stack.settle()
    found: list[dict[str, Any]] = (await ask(day, "GET"))["dead_letters"]
    return found


REFUSE = "ALTER TABLE notifications ADD CONSTRAINT refused_by_this_test CHECK (metadata ->> 'amount' <> '-666.00')"
TAKE_AGAIN = "ALTER TABLE notifications DROP CONSTRAINT refused_by_this_test"


async def test_a_firing_that_could_not_be_stored_arrives_once_it_can(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await day.alert(transaction_limit=LIMIT)
        await day.databases.of["dispatcher"].execute(REFUSE)
        await day.post(day.purchase("666.00"), day.purchase("150.00"))
        await day.want("inbox: Large transaction", "email: Large transaction")
        (letter,) = await letters(day)
        assert (letter["stream"], letter["subject"]) == ("FIRINGS", "tocsin.firings.realtime")
        assert "refused_by_this_test" in letter["error"]
        assert "666" not in str(letter), "a list shows no amounts"

        whole = await ask(day, "GET", f"/{letter['id']}")
        decoded = json.loads(whole["decoded"])
        assert decoded["context"]["transaction_limit"]["amount"] == "-666.00"
        assert events_pb2.Firing.FromString(base64.b64decode(whole["content"])).user_id == 1

        tried = await ask(day, "POST", ":retry", {"ids": [letter["id"]]})
        assert [one["taken_in"] for one in tried["results"]] == [False]
        await day.want()

        await day.databases.of["dispatcher"].execute(TAKE_AGAIN)
        tried = await ask(day, "POST", ":retry", {"filter": {"stream": "FIRINGS", "error": "REFUSED_by"}})
        assert tried == {"results": [{"id": letter["id"], "taken_in": True, "error": ""}], "more": False}
        await day.want("inbox: Large transaction", "email: Large transaction")

        tried = await ask(day, "POST", ":retry", {"ids": [letter["id"]]})
        assert [one["taken_in"] for one in tried["results"]] == [True], "and changes nothing"
        await day.want()
        assert (await ask(day, "GET"))["dead_letters"] == []
        assert len((await ask(day, "GET", "?with_taken_in=true"))["dead_letters"]) == 1
        history = (await ask(day, "GET", f"/{letter['id']}"))["retries"]
        assert [(one["subject"], bool(one["error"])) for one in history] == [("operator", True), ("operator", False)]


async def test_what_is_no_message_stays_dead_and_is_kept_once_with_its_bytes(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await published(day, "tocsin.firings.realtime", b"\xff\x00nonsense", "a")
        (letter,) = await letters(day)
        whole = await ask(day, "GET", f"/{letter['id']}")
        assert base64.b64decode(whole["content"]) == b"\xff\x00nonsense"
        assert (whole["decoded"], whole["size"]) == ("", 10)
        tried = await ask(day, "POST", ":retry", {"filter": {}})
        assert [one["taken_in"] for one in tried["results"]] == [False]
        assert len(await letters(day)) == 1


async def test_a_callback_that_was_half_understood_shows_what_it_said(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        body = json.dumps([{"event": "delivered", "sg_event_id": "1"}, 7]).encode()
        callback = events_pb2.Callback(id=bytes(15) + b"\x01", provider="sendgrid", url="/webhooks/sendgrid", body=body)
        callback.received_at.FromDatetime(day.stack.clock.now())
        await published(day, "tocsin.receipts.sendgrid", callback.SerializeToString(), "b")
        (letter,) = await letters(day)
        assert letter["error"] == "PartsUnreadable: of 2, part 2: an event without a name"
        decoded = json.loads((await ask(day, "GET", f"/{letter['id']}"))["decoded"])
        assert decoded["body"] == [{"event": "delivered", "sg_event_id": "1"}, 7]
        assert decoded["id"] == "00000000-0000-0000-0000-000000000001"
        count = "SELECT count(*) FROM receipts"
        assert await day.databases.of["dispatcher"].fetchval(count) == 1
        await ask(day, "POST", ":retry", {"ids": [letter["id"]]})
        assert await day.databases.of["dispatcher"].fetchval(count) == 1, "the same event again"


async def test_a_retry_names_letters_or_a_filter_and_only_those_there_are(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        admin, unknown = day.stack.admin_token(), "01890a5d-ac96-774b-bcce-b302099a8057"
        for wrong in ({}, {"ids": [unknown], "filter": {}}, {"filter": {"stream": "firings"}}):
            assert (await day.ask("POST", f"{LETTERS}:retry", wrong, admin)).status == 400, wrong
        assert (await day.ask("POST", f"{LETTERS}:retry", {"ids": [unknown]}, admin)).status == 404
        assert (await day.ask("GET", f"{LETTERS}/{unknown}", token=admin)).status == 404
        assert (await day.ask("GET", LETTERS)).status == 403, "a user"
