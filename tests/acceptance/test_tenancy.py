"""User A reaches nothing of user B's, partner X nothing of partner Y's, even with the same ids at the bank.

The walks go over every RPC that the contract has, by reflection: a new one without access rights fails the first, one
that shows or changes what is another's the second, which makes its requests from the owner's ids.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message

from tests.acceptance.conftest import OpenTimetable
from tests.acceptance.contract_walk import Ids, Rpc, ids_in, rpcs
from tests.acceptance.timetable import ACCOUNT, EMAIL, PARTNER, PHONE, USER, Fact, Timetable
from tocsin.notifications.v1 import template_pb2
from tocsin.types.v1 import types_pb2
from tocsin_devstack.stack import Metadata
from tocsin_kit.rpc.caller import OURS, Scope

STRANGER, OTHER_PARTNER = 2, 2
BELOW = {"account_id": "11", "threshold": "500.00", "currency": "USD", "direction": "below"}
OWNERS, PRICE = "Lighthouse", "0.4242"
#: The owner's alerts, one of each kind, as a fresh database numbers them.
ALERTS = (1, 2, 3, 4, 5, 6)
#: What banks and callers name things by: every fact of the owner has the same id, so that a type and an id name one.
NAMED_BY_OTHERS: Ids = {
    "user_id": (USER,),
    **{f"{thing}_id": (ACCOUNT,) for thing in ("account", "goal", "budget", "bill", "transaction", "fact_reference")},
    "pending_transaction_id": (ACCOUNT + 1,),
    "alert_id": ALERTS,
    "request_id": tuple(f"the owner's request {alert}" for alert in ALERTS),
}
#: Tables that hold nothing here: the mailbox is used where there are no providers.
EMPTY = frozenset({"dispatcher.mailbox"})
#: Tables in which a bank's users are counted together: the owner's own rows are not told from the bank's.
COUNTED = frozenset({"dispatcher.verification_counts"})
NEVER_TOLD = frozenset(
    {
        (template_pb2.TEMPLATE_KIND_DIGEST, types_pb2.CHANNEL_IN_APP),
        (template_pb2.TEMPLATE_KIND_VERIFICATION, types_pb2.CHANNEL_IN_APP),
        (template_pb2.TEMPLATE_KIND_VERIFICATION, types_pb2.CHANNEL_PUSH),
        (template_pb2.TEMPLATE_KIND_SYSTEM, types_pb2.CHANNEL_EMAIL),
        (template_pb2.TEMPLATE_KIND_SYSTEM, types_pb2.CHANNEL_SMS),
        (template_pb2.TEMPLATE_KIND_SYSTEM, types_pb2.CHANNEL_IN_APP),
    }
)
NOTHING_TO_SEE = frozenset({grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED})
_TENANTS = """
    SELECT table_name, bool_or(column_name = 'user_id') AS of_users FROM information_schema.columns
    WHERE table_schema = 'public' GROUP BY table_name HAVING bool_or(column_name = 'partner_id')
"""


async def test_every_rpc_refuses_who_has_no_token_or_not_its_scope(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        walked = rpcs()
        assert len(walked) > 40
        tokens = {
            Scope.USER: day.stack.as_user(STRANGER),
            Scope.PARTNER: day.stack.as_partner(),
            Scope.SERVICE: day.stack.as_service(),
            Scope.ADMIN: day.stack.as_admin(),
        }
        for rpc in walked:
            assert rpc.scopes, f"{rpc.name} has no access rights"
            status, _ = await rpc.call(day.stack, ())
            assert status == grpc.StatusCode.UNAUTHENTICATED, rpc.name
            for scope in tokens.keys() - rpc.scopes:
                status, _ = await rpc.call(day.stack, tokens[scope])
                assert status == grpc.StatusCode.PERMISSION_DENIED, f"{rpc.name} as {scope}: {status}"


async def test_no_rpc_shows_or_changes_what_is_another_s(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        walked = [rpc for rpc in rpcs() if rpc.scopes - OURS]
        owned = await everything_owned(day, walked)
        before = await rows_of_owner(day)
        assert {name for name, table in before.items() if table.of_users and not table.rows} == EMPTY

        for rpc in walked:
            for request in good_requests(rpc, owned.ids):
                for who, metadata in strangers(day, rpc):
                    answer = await answered(day, rpc, metadata, request, NOTHING_TO_SEE)
                    assert owned.seen_in(answer) == [], f"{rpc.name} shows {who}\n{answer}"
        await day.stack.settle()
        after = await rows_of_owner(day)
        for name, table in before.items():
            assert name in COUNTED or table.lost_in(after[name]) == [], f"{name} was changed"
        fired = "SELECT count(*) FROM firings WHERE partner_id = $1 AND user_id = $2"
        assert await day.databases.of["evaluator"].fetchval(fired, PARTNER, STRANGER) == 0
        strange = day.stack.user_token(STRANGER)
        assert (await day.ask("GET", f"/api/v2/alerts/{ALERTS[0]}", token=strange)).status == 404
        unread = await day.must("GET", "/api/v2/notifications/unread-count", token=strange)
        assert unread["count"] == "0"

        # The same requests are good ones: their owner's succeed, and show all that was looked for.
        shown: set[object] = set()
        for rpc in sorted(walked, key=lambda rpc: (not rpc.shows, rpc.destroys)):
            answers = [await answered(day, rpc, owner(day, rpc), request) for request in good_requests(rpc, owned.ids)]
            seen = {each for answer in answers for each in owned.seen_in(answer)}
            assert seen or not rpc.shows, f"{rpc.name} does not show its owner's"
            shown |= seen
        assert shown == {*ALERTS, *owned.words}
        day.forgive()


def good_requests(rpc: Rpc, ids: Ids) -> list[Message]:
    """Those that their owner may make: no template can be for a channel that its kind is never told on."""
    return [
        request
        for request in rpc.requests(ids)
        if not isinstance(request, template_pb2.CreateTemplateRequest)
        or (request.template.kind, request.template.channel) not in NEVER_TOLD
    ]


@dataclass(frozen=True)
class Owned:
    """The ids of what the owner has, and words that are nobody else's."""

    ids: Ids
    words: tuple[str, ...]

    def seen_in(self, answer: Message | None) -> list[object]:
        """What of the owner's an answer shows."""
        if answer is None:
            return []
        alerts = [value for name, value in ids_in(answer) if name == "alert_id" and value in ALERTS]
        return [*alerts, *(word for word in self.words if word in str(answer))]


async def everything_owned(day: Timetable, walked: list[Rpc]) -> Owned:
    """The owner gets an alert of each kind, a notification of each, preferences and settings of their bank; another
    bank has a user and facts of the same ids."""
    await posted_by(day, OTHER_PARTNER, day.profile(email="bo@example.com", phone=""), *facts(day, "Theirs"))
    await day.post(day.profile(user_id=str(STRANGER), email="eve@example.com", phone=""))
    (create,) = (rpc for rpc in walked if rpc.method.name == "CreateAlert")
    requests = create.requests(NAMED_BY_OTHERS)
    for alert, request in zip(ALERTS, requests, strict=True):
        made = await answered(day, create, owner(day, create), request)
        assert made is not None
        assert ("alert_id", alert) in ids_in(made), made
    await day.must("PATCH", "/api/v2/preferences", {"digest_hour": 9})
    settings = {"price_per_segment": PRICE}
    await day.must("PATCH", "/api/v2/partner-settings", settings, day.stack.partner_token())
    browser = await day.must("POST", "/api/v2/push-subscriptions", {**day.stack.push.browser(OWNERS), "name": OWNERS})
    hook = {"url": day.stack.webhooks.url(OWNERS), "name": OWNERS}
    endpoint = await day.must("POST", "/api/v2/webhook-endpoints", hook)
    words = {"kind": "goal", "channel": "email", "name": OWNERS, "subject": "x", "text": "x", "html": "x"}
    template = await day.must("POST", "/api/v2/templates", words, day.stack.partner_token())
    await day.post(*facts(day, OWNERS, balance="0.50", saved="500.00", spent="330.00", due_date="2025-11-04"))
    told = sorted(await day.inbox(), key=lambda one: int(one["alert_id"]))
    assert [int(one["alert_id"]) for one in told] == list(ALERTS), told
    notifications = tuple(str(one["id"]) for one in told)
    deliveries = await day.databases.of["dispatcher"].fetch("SELECT id FROM deliveries")
    await day.must("POST", "/api/v2/preferences/sms:verify", {})
    wish = {"address": "lou@example.com", "reason": "bounced", "note": OWNERS}
    suppression = await day.must("POST", "/api/v2/admin/suppressions", wish, day.stack.partner_token())
    ours = {"notification_id": notifications, "delivery_id": tuple(str(row["id"]) for row in deliveries)}
    ours |= {"template_id": (template["id"],), "suppression_id": (suppression["id"],)}
    ours |= {"push_subscription_id": (browser["id"],), "webhook_endpoint_id": (endpoint["id"],)}
    return Owned({**NAMED_BY_OTHERS, **ours}, (OWNERS, EMAIL, PHONE, PRICE, *notifications))


def facts(
    day: Timetable,
    name: str,
    *,
    balance: str = "9000.00",
    saved: str = "0.00",
    spent: str = "0.00",
    due_date: str = "2025-12-30",
) -> list[Fact]:
    """One of each, and a purchase still pending, all of that name, with the ids of NAMED_BY_OTHERS."""
    same: dict[str, Any] = {"id": str(ACCOUNT)}
    return [
        day.account(balance, name=name),
        day.goal(saved, name=name, **same),
        day.budget(spent, name=name, **same),
        day.bill(due_date, name=name, **same),
        day.purchase("5.00", description=name, **same),
        day.purchase("0.60", "Tea House", description=name, id=str(ACCOUNT + 1), status="pending"),
    ]


async def posted_by(day: Timetable, partner: int, *posted: Fact, **changes: str) -> list[Any]:
    """Post facts as a bank, each with the changes; the answers."""
    answers = []
    for fact in posted:
        dated = {"posted_on": "2025-11-03"} if fact.kind == "transactions" else {}
        body = {fact.kind: [{**fact.item, **dated, **changes}]}
        token = day.stack.service_token(partner)
        answers.append(await day.must("POST", f"/api/v2/ingest/{fact.kind}", body, token))
    await day.stack.settle()
    return answers


def strangers(day: Timetable, rpc: Rpc) -> Iterator[tuple[str, Metadata]]:
    """Who may call the RPC, but not for what is the owner's."""
    stack = day.stack
    if Scope.USER in rpc.scopes:
        yield "another user", stack.as_user(STRANGER)
        yield "the user of that id at another bank", stack.as_user(USER, OTHER_PARTNER)
        yield "another bank that names the owner", (*stack.as_service(OTHER_PARTNER), ("tocsin-user", str(USER)))
        yield "the bank for another user", (*stack.as_service(), ("tocsin-user", str(STRANGER)))
    if Scope.SERVICE in rpc.scopes:
        yield "another bank", stack.as_service(OTHER_PARTNER)
    if Scope.PARTNER in rpc.scopes:
        yield "another bank's staff", stack.as_partner(OTHER_PARTNER)


def owner(day: Timetable, rpc: Rpc) -> Metadata:
    """Who may call the RPC for what is the owner's."""
    if Scope.USER in rpc.scopes:
        return day.stack.as_user(USER)
    return day.stack.as_service() if Scope.SERVICE in rpc.scopes else day.stack.as_partner()


async def answered(
    day: Timetable,
    rpc: Rpc,
    metadata: Metadata,
    request: Message,
    refusals: frozenset[grpc.StatusCode] = frozenset(),
) -> Message | None:
    """The answer, or None for one of the refusals. What is refused for its form would prove nothing, so it fails."""
    status, answer = await rpc.call(day.stack, metadata, request)
    assert status == grpc.StatusCode.OK or status in refusals, f"{rpc.name} {request}: {status}"
    assert not getattr(answer, "rejected", ()), f"{rpc.name} {request}: {answer}"
    return answer


@dataclass(frozen=True)
class Rows:
    """What a table holds of the owner; where it has no column for users, of the owner's bank."""

    of_users: bool
    rows: frozenset[str]

    def lost_in(self, after: "Rows") -> list[str]:
        """What is not there as it was; of a user's rows also what is new."""
        return sorted(self.rows ^ after.rows if self.of_users else self.rows - after.rows)


async def rows_of_owner(day: Timetable) -> Mapping[str, Rows]:
    """Every table of tenants in all four databases."""
    found: dict[str, Rows] = {}
    for service, database in day.databases.of.items():
        for name, of_users in await database.fetch(_TENANTS):
            mine = f"partner_id = {PARTNER}" + (f" AND user_id = {USER}" if of_users else "")
            rows = await database.fetch(f"SELECT to_jsonb(t)::text AS row FROM {name} t WHERE {mine}")  # noqa: S608
            found[f"{service}.{name}"] = Rows(of_users, frozenset(row["row"] for row in rows))
    return found


async def test_another_partner_s_same_ids_are_other_things(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.alert(account_threshold=BELOW)
        await posted_by(day, OTHER_PARTNER, day.profile(email="bo@example.com", phone=""))
        their_user = day.stack.user_token(USER, OTHER_PARTNER)
        await day.must("POST", "/api/v2/alerts", {"account_threshold": BELOW}, their_user)
        await posted_by(day, OTHER_PARTNER, day.account("3.00"))
        await day.want(
            "email to bo@example.com: Low balance: Checking",
            f"inbox of user {USER} of partner {OTHER_PARTNER}: Low balance: Checking",
        )
        await day.post(*facts(day, OWNERS))
        for answer in await posted_by(day, PARTNER, *facts(day, "Taken"), user_id=str(STRANGER)):
            assert [one["reason"] for one in answer["rejected"]] == ["id_belongs_to_another"], answer
        await day.at("10:05")
