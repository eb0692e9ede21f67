"""Webhooks, from an endpoint that is added to events that its owner can verify; and what is never called."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from tests.acceptance.conftest import OpenTimetable
from tests.acceptance.timetable import Timetable
from tocsin_devstack.faults import CallBehaviour, CallFault, Receiver

START = "2025-11-03 09:00"
LARGE = {"amount": "100.00", "currency": "USD"}
BELOW = {"account_id": "11", "threshold": "500.00", "currency": "USD", "direction": "below"}
INBOX = "inbox: Large transaction"
PATH = "/api/v2/webhook-endpoints"


async def endpoint(day: Timetable, name: str, token: str | None = None, **changes: Any) -> str:
    """Add an endpoint of the receiver's, which verifies what comes by its secret; its id."""
    made = await day.must("POST", PATH, {"url": day.stack.webhooks.url(name), "name": name, **changes}, token)
    day.stack.webhooks.secrets[name] = made["secret"]
    return str(made["id"])


async def fates(day: Timetable) -> list[tuple[str, str | None]]:
    """The state and reason of each webhook of the newest notification."""
    newest = (await day.inbox())[0]
    return sorted((one["status"], one.get("reason")) for one in newest["deliveries"] if one["channel"] == "webhook")


async def alerted(day: Timetable) -> None:
    """An alert on large transactions, by webhook."""
    await day.alert(transaction_limit=LARGE, webhook_delivery=True, email_delivery=False)


async def test_a_user_s_endpoint_gets_the_notification_as_rest_shows_it(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        id_ = await endpoint(day, "mine")
        await endpoint(day, "strange", day.stack.user_token(2))
        await alerted(day)
        await day.at("09:05", day.purchase("250.00"))
        await day.want(INBOX, "webhook to mine: Large transaction")

        [came], [shown] = day.stack.webhooks.hooked, await day.inbox()
        assert came.event["type"] == "notification.created"
        assert came.event["timestamp"] == shown["created_at"]
        assert came.event["user_id"] == "1"
        states = {"deliveries": shown["deliveries"]}
        assert {**came.event["data"], **states} == shown, "its own delivery was still under way"
        assert [one["channel"] for one in came.event["data"]["deliveries"]] == ["in_app", "webhook"]
        assert day.stack.webhooks.account.refused == []
        [listed] = (await day.must("GET", PATH))["webhook_endpoints"]
        assert (listed["id"], listed["secret"], listed["disabled"]) == (id_, "", False)
        assert await fates(day) == [("sent", None)]


async def test_a_bank_s_endpoint_gets_every_notification_of_its_kinds(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        bank = day.stack.partner_token()
        await endpoint(day, "all", bank)
        await endpoint(day, "balances", bank, alert_types=["account_threshold"])
        await endpoint(day, "elsewhere", day.stack.partner_token(2))
        await day.alert(transaction_limit=LARGE, email_delivery=False)
        await day.alert(account_threshold=BELOW, email_delivery=False)
        await day.at("09:05", day.purchase("250.00"))
        await day.want(INBOX, "webhook to all: Large transaction")
        await day.at("09:06", day.account("480.00"))
        await day.want(
            "inbox: Low balance: Checking",
            "webhook to all: Low balance: Checking",
            "webhook to balances: Low balance: Checking",
        )
        assert len((await day.must("GET", PATH, token=bank))["webhook_endpoints"]) == 2
        assert (await day.must("GET", PATH))["webhook_endpoints"] == [], "a user has none of the bank's"


async def test_an_alert_that_asks_for_webhooks_without_an_endpoint_says_so(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await endpoint(day, "balances", alert_types=["account_threshold"])
        await alerted(day)
        await day.at("09:05", day.purchase("250.00"))
        await day.want(INBOX)
        assert await fates(day) == [("suppressed", "no_address")]


async def test_for_a_day_after_a_rotation_both_secrets_verify(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        id_ = await endpoint(day, "mine")
        await alerted(day)
        old = day.stack.webhooks.secrets["mine"]
        await day.at("09:10")
        changed = await day.must("POST", f"{PATH}/{id_}:rotate-secret", {})
        assert changed["secret"] not in ("", old)
        assert changed["old_secret_valid_until"] == "2025-11-04T15:10:00Z"

        for secret, when in ((old, "09:15"), (changed["secret"], "2025-11-04 09:09")):
            day.stack.webhooks.secrets["mine"] = secret
            await day.at(when, day.purchase("250.00"))
            await day.want(INBOX, "webhook to mine: Large transaction")
        signed = day.stack.webhooks.hooked[-1].headers["webhook-signature"]
        assert len(signed.split(" ")) == 2

        await day.at("2025-11-04 09:11", day.purchase("250.00"))
        await day.want(INBOX, "webhook to mine: Large transaction")
        assert len(day.stack.webhooks.hooked[-1].headers["webhook-signature"].split(" ")) == 1
        assert day.stack.webhooks.account.refused == []


async def test_at_most_three_secrets_sign_at_once_and_what_signs_no_longer_is_forgotten(
    timetable: OpenTimetable,
) -> None:
    async with timetable(START) as day:
        id_ = await endpoint(day, "mine")
        rotate = f"{PATH}/{id_}:rotate-secret"
        for _ in range(2):
            await day.must("POST", rotate, {})
        refused = await day.ask("POST", rotate, {})
        assert (refused.status, refused.body["reason"]) == (409, "state_conflict")
        await day.at("2025-11-04 09:01")
        await day.must("POST", rotate, {})
        secrets = await day.databases.of["dispatcher"].fetch("SELECT valid_until FROM webhook_secrets")
        assert len(secrets) == 2


async def test_what_fails_is_sent_again_under_the_same_id_with_a_time_of_its_own(timetable: OpenTimetable) -> None:
    async with timetable(START, settings={"dispatcher": {"TOCSIN_PROVIDER_SECONDS": "1"}}) as day:
        await endpoint(day, "mine")
        await alerted(day)
        faults = [
            CallFault(Receiver.WEBHOOK, CallBehaviour.HANG_AFTER, times=1),
            CallFault(Receiver.WEBHOOK, CallBehaviour.RESET_BEFORE, from_call=2, times=1),
            CallFault(Receiver.WEBHOOK, CallBehaviour.STATUS, status=500, from_call=3, times=1),
            CallFault(Receiver.WEBHOOK, CallBehaviour.STATUS, status=404, from_call=4, times=1),
        ]
        for fault in faults:
            day.stack.faults.order(fault)
        await day.at("09:05", day.purchase("250.00"))
        await day.want(INBOX, "webhook to mine: Large transaction")  # taken, and never answered
        assert await fates(day) == [("retrying", None)]
        await day.stack.move_to(day.instant("09:15"))
        await day.want("webhook to mine: Large transaction")
        first, last = day.stack.webhooks.hooked
        assert first.headers["webhook-id"] == last.headers["webhook-id"]
        assert int(first.headers["webhook-timestamp"]) < int(last.headers["webhook-timestamp"])
        assert await fates(day) == [("sent", None)]


async def test_retry_after_is_honoured_and_costs_no_retry(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await endpoint(day, "mine")
        await alerted(day)
        busy = {"Retry-After": "600"}
        for call, status in enumerate((429, 503), 1):
            fault = CallFault(
                Receiver.WEBHOOK, CallBehaviour.STATUS, status=status, headers=busy, from_call=call, times=1
            )
            day.stack.faults.order(fault)
        await day.at("09:05", day.purchase("250.00"))
        await day.want(INBOX)
        await day.at("09:14")
        await day.at("09:24")
        await day.stack.move_to(day.instant("09:26"))
        await day.want("webhook to mine: Large transaction")
        admin = day.stack.admin_token()
        [webhook] = (await day.must("GET", "/api/v2/admin/deliveries?channel=webhook", token=admin))["deliveries"]
        assert (webhook["attempt"], webhook["failures"]) == (3, 0)


async def test_an_endpoint_that_answers_410_is_disabled_until_a_test_succeeds(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        id_ = await endpoint(day, "mine")
        await alerted(day)
        day.stack.faults.order(CallFault(Receiver.WEBHOOK, CallBehaviour.STATUS, status=410, times=1))
        await day.at("09:05", day.purchase("250.00"))
        await day.want(INBOX)
        assert await fates(day) == [("failed", None)]
        [listed] = (await day.must("GET", PATH))["webhook_endpoints"]
        assert (listed["disabled"], listed["disabled_since"]) == (True, "2025-11-03T15:05:00Z")
        await day.at("09:06", day.purchase("260.00"))
        await day.want(INBOX)
        assert await fates(day) == [("suppressed", "suppressed_disabled")]

        result = await day.must("POST", f"{PATH}/{id_}:test", {})
        assert (result["outcome"], result["status_code"]) == ("accepted", "204")
        await day.want("webhook to mine: webhook.test")
        await day.at("09:07", day.purchase("270.00"))
        await day.want(INBOX, "webhook to mine: Large transaction")


async def test_what_waits_for_an_endpoint_that_is_disabled_or_removed_ends(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        removed, _ = await endpoint(day, "removed"), await endpoint(day, "disabled")
        await alerted(day)
        down = CallFault(Receiver.WEBHOOK, CallBehaviour.STATUS, status=500, times=2)
        day.stack.faults.order(down)
        await day.at("09:05", day.purchase("250.00"))
        await day.want(INBOX)
        assert await fates(day) == [("retrying", None), ("retrying", None)]
        await day.must("DELETE", f"{PATH}/{removed}")
        day.stack.faults.order(CallFault(Receiver.WEBHOOK, CallBehaviour.STATUS, status=410, times=1))
        other = await day.must("GET", PATH)
        await day.must("POST", f"{PATH}/{other['webhook_endpoints'][0]['id']}:test", {})
        await day.stack.move_to(day.instant("09:06"))
        await day.want()
        assert await fates(day) == [("suppressed", "no_address"), ("suppressed", "suppressed_disabled")]


async def test_neither_quiet_hours_nor_limits_hold_a_webhook(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 23:00", settings={"dispatcher": {"RATE_LIMIT_HOURLY": "1"}}) as day:
        await day.must("PATCH", "/api/v2/preferences", {"quiet_hours": {"enabled": True}})
        await endpoint(day, "mine")
        await day.alert(transaction_limit=LARGE, webhook_delivery=True, email_delivery=False, critical=False)
        await day.at("23:05", *(day.purchase("250.00") for _ in range(3)))
        await day.want(*[INBOX] * 3, *["webhook to mine: Large transaction"] * 3)


async def test_the_same_request_twice_adds_one_endpoint_and_shows_its_secret_again(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        token, body = day.stack.user_token(1), {"url": day.stack.webhooks.url("mine")}
        headers = {"Idempotency-Key": "one of mine"}
        first, again = [await day.stack.rest("POST", PATH, token=token, body=body, headers=headers) for _ in range(2)]
        assert (first.status, first.body) == (201, again.body)
        assert first.body["secret"].startswith("whsec_")
        other = await day.stack.rest(
            "POST", PATH, token=token, body={"url": day.stack.webhooks.url("other")}, headers=headers
        )
        assert other.body["reason"] == "idempotency_conflict"
        stored = await day.databases.of["dispatcher"].fetch("SELECT response FROM idempotency_keys")
        assert all(first.body["secret"].encode() not in row["response"] for row in stored)


async def test_no_secret_lies_in_the_database_as_it_is(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        await endpoint(day, "mine")
        browser = day.stack.push.browser("laptop")
        await day.must("POST", "/api/v2/push-subscriptions", browser)
        kept = ""
        for table in ("webhook_endpoints", "webhook_secrets", "push_subscriptions", "idempotency_keys"):
            rows = await day.databases.of["dispatcher"].fetch(f"SELECT * FROM {table}")  # noqa: S608
            kept += "".join(repr(dict(row)) for row in rows)
        assert "shown" in kept
        secret = day.stack.webhooks.secrets["mine"].removeprefix("whsec_")
        private = [secret, str(browser["endpoint"]), *json.loads(json.dumps(browser["keys"])).values()]
        assert [one for one in private if one in kept] == []


@contextmanager
def listening() -> Iterator[socket.socket]:
    """A server of this machine that must not be reached."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0)
        yield server


def was_reached(server: socket.socket) -> bool:
    """Whether anybody connected."""
    try:
        server.accept()
    except BlockingIOError:
        return False
    return True


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:10.0.0.1]",
        "169.254.169.254",
        "10.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "0.0.0.0",  # noqa: S104 - nothing is bound
        "[::]",
        "[64:ff9b::7f00:1]",
    ],
)
async def test_an_address_of_a_private_network_is_never_called(timetable: OpenTimetable, host: str) -> None:
    async with timetable(START) as day:
        with listening() as server:
            made = await day.ask("POST", PATH, {"url": f"https://{host}:{server.getsockname()[1]}/hook"})
            assert made.status in (201, 400), made
            if made.status == 201:
                await alerted(day)
                await day.at("09:05", day.purchase("250.00"))
                await day.want(INBOX)
                assert await fates(day) == [("failed", None)]
                result = await day.must("POST", f"{PATH}/{made.body['id']}:test", {})
                assert (result["outcome"], result["answer"]) == ("permanent", "AddressRefused"), result
            assert not was_reached(server)


async def test_plain_http_is_refused(timetable: OpenTimetable) -> None:
    async with timetable(START) as day:
        for url in ("http://example.com/hook", "http://127.0.0.1:9/hook", "https://u:p@example.com", "ftp://x", "x"):
            refused = await day.ask("POST", PATH, {"url": url})
            assert refused.status == 400, url
            assert [one["field"] for one in refused.body["errors"]] == ["webhook_endpoint.url"], url


async def test_a_host_that_no_name_can_be_is_refused_by_its_field(timetable: OpenTimetable) -> None:
    """Before it was refused, one such endpoint of one user ended the dispatcher at the user's next alert."""
    async with timetable(START) as day:
        for host in ("example..com", ".example.com", f"{'a' * 64}.example.com"):
            refused = await day.ask("POST", PATH, {"url": f"https://{host}/hook"})
            assert refused.status == 400, host
            assert [one["field"] for one in refused.body["errors"]] == ["webhook_endpoint.url"], host


@asynccontextmanager
async def redirecting(to: str, port: int = 0) -> AsyncIterator[str]:
    """A server of this machine that sends everybody elsewhere."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_redirect_is_a_failure_and_leads_nowhere(timetable: OpenTimetable) -> None:
    with listening() as inside:
        async with redirecting(f"http://127.0.0.1:{inside.getsockname()[1]}/secrets") as local:
            told = {"dispatcher": {"TOCSIN_LOCAL_ENDPOINTS": local}}
            async with timetable(START, settings=told) as day:
                made = await day.must("POST", PATH, {"url": f"http://{local}/hook"})
                result = await day.must("POST", f"{PATH}/{made['id']}:test", {})
                assert (result["outcome"], result["status_code"]) == ("transient", "307")
        assert not was_reached(inside)


async def test_an_endpoint_that_hangs_slows_no_other(timetable: OpenTimetable) -> None:
    async with timetable(START, settings={"dispatcher": {"WORKER_CONCURRENCY": "8"}}) as day:
        bank = day.stack.partner_token()
        for name in ("hanging", "healthy"):
            await endpoint(day, name, bank)
        await day.alert(transaction_limit=LARGE, email_delivery=False)
        day.stack.faults.order(CallFault(Receiver.WEBHOOK, CallBehaviour.HANG_BEFORE, recipient="hanging"))
        posted_at = day.stack.clock.now().isoformat().replace("+00:00", "Z")
        purchases = [{**day.purchase("250.00").item, "posted_at": posted_at} for _ in range(20)]
        token = day.stack.service_token()
        await day.must("POST", "/api/v2/ingest/transactions", {"transactions": purchases}, token)
        took = day.stack.webhooks.account
        async with asyncio.timeout(5):  # half the time that a call may take
            while len(took.to("healthy")) < 20:
                await day.inbox()
        assert took.to("hanging") == []
        day.stack.faults.forget_calls()
        await day.stack.move_to(day.instant("09:30"))
        assert len(took.to("hanging")) == 20
        day.forgive()
