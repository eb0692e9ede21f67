"""The service as it runs: gRPC in, NATS out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import grpc
import nats
import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from nats.aio.subscription import Subscription
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from tocsin.alerts.v1 import alert_pb2, alert_pb2_grpc, evaluation_pb2, evaluation_pb2_grpc, fact_pb2, fact_pb2_grpc
from tocsin.events.v1 import events_pb2
from tocsin.types.v1 import types_pb2
from tocsin_devstack.fixtures import MakeDatabase
from tocsin_evaluator.alerts import desk
from tocsin_evaluator.app import evaluator
from tocsin_evaluator.settings import EvaluatorSettings
from tocsin_kit.activity import Activity
from tocsin_kit.clock import SteppedClock
from tocsin_kit.ids import SeededIds
from tocsin_kit.messaging.streams import apply_to
from tocsin_kit.postgres.engine import in_transaction
from tocsin_kit.rpc.caller import Scope
from tocsin_kit.rpc.errors import Reason, TocsinError, from_rpc_error
from tocsin_kit.rpc.tokens import InternalTokens, mint_dev_token
from tocsin_kit.settings import Environment

_SECRET, _INTERNAL = "s" * 32, "k" * 32
_SEALING = "a" * 42 + "A"
_NEVER = datetime(2100, 1, 1, tzinfo=UTC)
Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Service:
    """The running service, and its callers."""

    channel: grpc.aio.Channel
    clock: SteppedClock
    activity: Activity
    heard: Subscription

    @property
    def alerts(self) -> alert_pb2_grpc.AlertServiceAsyncStub:
        return alert_pb2_grpc.AlertServiceStub(self.channel)

    @property
    def facts(self) -> fact_pb2_grpc.FactServiceAsyncStub:
        return fact_pb2_grpc.FactServiceStub(self.channel)

    @property
    def evaluation(self) -> evaluation_pb2_grpc.EvaluationServiceAsyncStub:
        return evaluation_pb2_grpc.EvaluationServiceStub(self.channel)

    def user(self, user: int = 1, partner: int = 1) -> Metadata:
        return _bearer(
            mint_dev_token(_SECRET, subject=str(user), scopes=(Scope.USER,), partner_id=partner, expires_at=_NEVER)
        )

    def bank(self, partner: int = 1) -> Metadata:
        return _bearer(
            mint_dev_token(_SECRET, subject="bank", scopes=(Scope.SERVICE,), partner_id=partner, expires_at=_NEVER)
        )

    def ours(self) -> Metadata:
        return _bearer(InternalTokens(SecretStr(_INTERNAL), self.clock, "dispatcher").current())

    async def published(self, n: int) -> list[Any]:
        """The next `n` messages of any stream."""
        return [await self.heard.next_msg(timeout=20) for _ in range(n)]


def _bearer(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),)


@pytest_asyncio.fixture
async def service(make_database: MakeDatabase, broker_url: str, clock: SteppedClock) -> AsyncIterator[Service]:
    """One evaluator."""
    async with _running(await make_database("evaluator"), broker_url, clock) as running:
        yield running


@asynccontextmanager
async def _running(database_url: str, broker_url: str, clock: SteppedClock) -> AsyncIterator[Service]:
    await apply_to(broker_url)
    settings = EvaluatorSettings(
        env=Environment.DEV,
        database_url=SecretStr(database_url),
        nats_url=broker_url,
        grpc_port=0,
        admin_port=0,
        jwt_secret=SecretStr(_SECRET),
        internal_key=SecretStr(_INTERNAL),
        secrets_keys=SecretStr(_SEALING),
    )
    activity = Activity()
    client = await nats.connect(broker_url)
    heard = await client.subscribe("tocsin.>")
    await client.flush()
    async with (
        evaluator(
            settings,
            clock=clock,
            ids=SeededIds(1, clock),
            random=Random(1),
            metrics=CollectorRegistry(),
            tracer_provider=TracerProvider(),
            activity=activity,
        ) as running,
        grpc.aio.insecure_channel(f"127.0.0.1:{running.ports['grpc']}") as channel,
    ):
        yield Service(channel, clock, activity, heard)
    await client.close()


def _threshold(**more: Any) -> alert_pb2.Alert:
    condition = alert_pb2.AccountThresholdCondition(
        account_id=1, threshold="500", currency="USD", direction=types_pb2.THRESHOLD_DIRECTION_BELOW
    )
    return alert_pb2.Alert(account_threshold=condition, **more)


async def _create(service: Service, alert: alert_pb2.Alert, caller: Metadata, request_id: str = "") -> alert_pb2.Alert:
    request = alert_pb2.CreateAlertRequest(alert=alert, request_id=request_id)
    return (await service.alerts.CreateAlert(request, metadata=caller)).alert


def _account(id_: int = 1, balance: str = "100", **more: Any) -> fact_pb2.Account:
    return fact_pb2.Account(
        **{"id": id_, "user_id": 1, "name": "Checking", "balance": balance, "currency": "USD", **more}
    )


async def _refused(call: Any) -> TocsinError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def test_a_posted_balance_becomes_a_firing_on_the_broker(service: Service) -> None:
    """The whole way, with everything the dispatcher needs."""
    made = await _create(service, _threshold(sms_delivery=True), service.user())
    assert made.name == "Balance below 500.00 USD"
    assert made.cooldown.seconds == 6 * 3600
    answer = await service.facts.PutAccounts(
        fact_pb2.PutAccountsRequest(accounts=[_account()]), metadata=service.bank()
    )
    assert (answer.accepted, list(answer.unknown_people)) == (1, [1])
    [message] = await service.published(1)
    event = events_pb2.Firing.FromString(message.data)
    assert message.subject == "tocsin.firings.realtime"
    assert message.headers["Nats-Msg-Id"] == str(UUID(bytes=event.id))
    assert event.context.account_threshold.balance == "100.00"
    assert event.context.account_threshold.direction == types_pb2.THRESHOLD_DIRECTION_BELOW
    assert list(event.channels) == [types_pb2.CHANNEL_IN_APP, types_pb2.CHANNEL_EMAIL, types_pb2.CHANNEL_SMS]
    assert (event.alert_name, event.time_zone, event.profile_version) == ("Balance below 500.00 USD", "UTC", 0)
    listed = await service.alerts.ListFirings(alert_pb2.ListFiringsRequest(id=made.id), metadata=service.user())
    assert [firing.id for firing in listed.firings] == [str(UUID(bytes=event.id))]


async def test_a_bad_item_is_refused_alone(service: Service) -> None:
    """By index, with its field; the rest is kept. Another owner's id stays his."""
    answer = await service.facts.PutAccounts(
        fact_pb2.PutAccountsRequest(
            accounts=[_account(1), _account(2, "1.23456"), _account(3, currency="XXQ"), _account(1, user_id=2)]
        ),
        metadata=service.bank(),
    )
    told = [(each.index, each.field) for each in answer.rejected]
    assert answer.accepted == 1
    assert told == [(1, "balance"), (2, "currency"), (3, "id")]
    assert answer.rejected[2].reason == fact_pb2.REJECTION_REASON_ID_BELONGS_TO_ANOTHER
    later = fact_pb2.PutAccountsRequest(accounts=[_account(1, user_id=2)])
    assert (await service.facts.PutAccounts(later, metadata=service.bank())).accepted == 0
    assert (await service.facts.PutAccounts(later, metadata=service.bank(partner=2))).accepted == 1


async def test_a_profile_travels_to_the_dispatcher_once_per_change(service: Service) -> None:
    """Whole, with its version; a repeat is no change, a new address is."""
    profile = fact_pb2.Profile(user_id=1, email="a@example.com", email_verified=True, time_zone="Asia/Kathmandu")
    for email in ("a@example.com", "a@example.com", "b@example.com"):
        profile.email = email
        service.clock.advance(timedelta(minutes=1))
        request = fact_pb2.PutProfilesRequest(profiles=[profile])
        assert (await service.facts.PutProfiles(request, metadata=service.bank())).accepted == 1
    messages = await service.published(2)
    events = [events_pb2.Profile.FromString(message.data) for message in messages]
    assert [(event.email, event.version) for event in events] == [("a@example.com", 1), ("b@example.com", 2)]
    assert messages[0].headers["Nats-Msg-Id"] == "1:1:1"
    bad = fact_pb2.Profile(user_id=2, time_zone="Mars/Base")
    answer = await service.facts.PutProfiles(fact_pb2.PutProfilesRequest(profiles=[bad]), metadata=service.bank())
    assert answer.rejected[0].field == "time_zone"


async def test_profiles_are_summed_up_and_told_again(service: Service) -> None:
    """The newest of each person, part by part, from two minutes on; at rest it shows no address."""
    people = [fact_pb2.Profile(user_id=user, email=f"{user}@example.com") for user in (1, 2, 257)]
    await service.facts.PutProfiles(fact_pb2.PutProfilesRequest(profiles=people), metadata=service.bank())
    people[0].email = "new@example.com"
    await service.facts.PutProfiles(fact_pb2.PutProfilesRequest(profiles=people[:1]), metadata=service.bank())
    told = {message.headers["Nats-Msg-Id"] for message in await service.published(4)}
    assert told == {"1:1:1", "1:2:1", "1:257:1", "1:1:2"}

    async def sums(partner_id: int) -> list[tuple[int, int, int]]:
        request = evaluation_pb2.SummariseProfilesRequest(partner_id=partner_id)
        answer = await service.evaluation.SummariseProfiles(request, metadata=service.ours())
        return [(each.partner_id, each.part, each.count) for each in answer.sums]

    assert await sums(0) == [(1, 0, 3)]
    assert await sums(1) == [(1, 1, 2), (1, 2, 1)]
    request = evaluation_pb2.RepublishProfilesRequest(partner_id=1, parts=[1])
    assert (await service.evaluation.RepublishProfiles(request, metadata=service.ours())).published == 0
    service.clock.advance(timedelta(minutes=3))
    assert (await service.evaluation.RepublishProfiles(request, metadata=service.ours())).published == 2
    again = [events_pb2.Profile.FromString(message.data) for message in await service.published(2)]
    assert {(each.user_id, each.email, each.version) for each in again} == {
        (1, "new@example.com", 2),
        (257, "257@example.com", 1),
    }
    nobody = evaluation_pb2.RepublishProfilesRequest(partner_id=2)
    assert (await service.evaluation.RepublishProfiles(nobody, metadata=service.ours())).published == 0


async def test_another_users_alert_does_not_exist(service: Service) -> None:
    """Neither for another user of the bank nor for the same id at another bank."""
    made = await _create(service, _threshold(), service.user())
    for stranger in (service.user(user=2), service.user(partner=2)):
        calls: list[Awaitable[object]] = [
            service.alerts.GetAlert(alert_pb2.GetAlertRequest(id=made.id), metadata=stranger),
            service.alerts.DeleteAlert(alert_pb2.DeleteAlertRequest(id=made.id), metadata=stranger),
            service.alerts.EvaluateAlert(alert_pb2.EvaluateAlertRequest(id=made.id), metadata=stranger),
            service.alerts.ListFirings(alert_pb2.ListFiringsRequest(id=made.id), metadata=stranger),
            service.alerts.UpdateAlert(alert_pb2.UpdateAlertRequest(id=made.id, alert=_threshold()), metadata=stranger),
        ]
        for call in calls:
            assert (await _refused(call)).reason is Reason.NOT_FOUND
        listed = await service.alerts.ListAlerts(alert_pb2.ListAlertsRequest(), metadata=stranger)
        assert not listed.alerts


async def test_a_repeated_request_creates_one_alert(service: Service) -> None:
    """The same request id gets the same alert; with another body it is a conflict."""
    first = await _create(service, _threshold(), service.user(), "r1")
    assert (await _create(service, _threshold(), service.user(), "r1")).id == first.id
    assert (await _create(service, _threshold(), service.user(user=2), "r1")).id != first.id
    error = await _refused(_create(service, _threshold(name="Other"), service.user(), "r1"))
    assert error.reason is Reason.IDEMPOTENCY_CONFLICT


async def test_a_request_without_an_id_whose_commit_goes_unseen_creates_one_alert(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction that is run again finds itself by an id of ours; another request is another alert."""

    async def run_again(engine: AsyncEngine, work: Callable[[AsyncConnection], Awaitable[object]]) -> object:
        await in_transaction(engine, work)
        return await in_transaction(engine, work)

    monkeypatch.setattr(desk, "in_transaction", run_again)
    made = [(await _create(service, _threshold(), service.user())).id for _ in range(2)]
    listed = await service.alerts.ListAlerts(alert_pb2.ListAlertsRequest(), metadata=service.user())
    assert [alert.id for alert in listed.alerts] == made[::-1]


async def test_an_edit_that_was_left_behind_is_evaluated_by_the_running_service(
    make_database: MakeDatabase, broker_url: str, clock: SteppedClock
) -> None:
    """As when the process that made it ended: the next to start makes up for it."""
    url = await make_database("evaluator")
    async with _running(url, broker_url, clock) as first:
        await first.facts.PutAccounts(fact_pb2.PutAccountsRequest(accounts=[_account()]), metadata=first.bank())
        made = await _create(first, _threshold(active=False), first.user())
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alerts SET active = true, evaluate_after_edit = 1"))
    await engine.dispose()
    clock.advance(timedelta(seconds=6))
    async with _running(url, broker_url, clock) as second:
        [message] = await second.published(1)
    assert message.subject == "tocsin.firings.user"
    assert events_pb2.Firing.FromString(message.data).alert_id == made.id


async def test_a_patch_changes_what_its_mask_names(service: Service) -> None:
    """A changed condition starts fresh and renames a default name; the kind stays; wrong values name their field."""
    made = await _create(service, _threshold(), service.user())
    patch = alert_pb2.Alert(account_threshold=alert_pb2.AccountThresholdCondition(threshold="750"))
    request = alert_pb2.UpdateAlertRequest(
        id=made.id, alert=patch, update_mask=FieldMask(paths=["account_threshold.threshold"])
    )
    after = (await service.alerts.UpdateAlert(request, metadata=service.user())).alert
    assert (after.account_threshold.threshold, after.condition_version) == ("750.00", 2)
    assert after.name == "Balance below 750.00 USD"
    assert after.account_threshold.account_id == 1
    goal = alert_pb2.Alert(goal=alert_pb2.GoalCondition(goal_id=1))
    error = await _refused(
        service.alerts.UpdateAlert(alert_pb2.UpdateAlertRequest(id=made.id, alert=goal), metadata=service.user())
    )
    assert error.reason is Reason.KIND_IS_FIXED
    patch.account_threshold.threshold = "much"
    request.alert.CopyFrom(patch)
    error = await _refused(service.alerts.UpdateAlert(request, metadata=service.user()))
    assert error.violations[0].field == "alert.account_threshold.threshold"
    off = alert_pb2.UpdateAlertRequest(id=made.id, alert=alert_pb2.Alert(active=False))
    off.update_mask.paths.append("active")
    assert not (await service.alerts.UpdateAlert(off, metadata=service.user())).alert.active
    asked = await service.alerts.EvaluateAlert(alert_pb2.EvaluateAlertRequest(id=made.id), metadata=service.user())
    assert asked.reason == alert_pb2.NOT_FIRED_REASON_INACTIVE


async def test_lists_are_paged_newest_first(service: Service) -> None:
    """By key, not by offset."""
    made = [(await _create(service, _threshold(), service.user())).id for _ in range(5)]
    seen: list[int] = []
    token = ""
    while True:
        request = alert_pb2.ListAlertsRequest(page_size=2, page_token=token)
        page = await service.alerts.ListAlerts(request, metadata=service.user())
        seen += [alert.id for alert in page.alerts]
        token = page.next_page_token
        if not token:
            break
    assert seen == made[::-1]
    error = await _refused(
        service.alerts.ListAlerts(alert_pb2.ListAlertsRequest(page_token="x"), metadata=service.user())
    )
    assert error.violations[0].field == "page_token"


async def test_firings_are_summed_up_rechecked_and_published_again(service: Service) -> None:
    """What the dispatcher asks to be sure that nothing is lost or out of date."""
    made = await _create(service, _threshold(), service.user())
    await service.facts.PutAccounts(fact_pb2.PutAccountsRequest(accounts=[_account()]), metadata=service.bank())
    [message] = await service.published(1)
    firing = UUID(bytes=events_pb2.Firing.FromString(message.data).id)
    since, until = Timestamp(), Timestamp()
    since.FromDatetime(service.clock.now() - timedelta(hours=1))
    until.FromDatetime(service.clock.now() + timedelta(hours=1))
    summary = await service.evaluation.SummariseFirings(
        evaluation_pb2.SummariseFiringsRequest(since=since, until=until), metadata=service.ours()
    )
    [minute] = summary.minutes
    together = ((minute.xor_high & (2**64 - 1)) << 64) | (minute.xor_low & (2**64 - 1))
    assert (minute.count, together) == (1, firing.int)
    again = await service.evaluation.RepublishFirings(
        evaluation_pb2.RepublishFiringsRequest(since=since, until=until), metadata=service.ours()
    )
    assert again.published == 1
    until.FromDatetime(service.clock.now() + timedelta(hours=23, seconds=1))
    too_long: list[Awaitable[object]] = [
        service.evaluation.SummariseFirings(
            evaluation_pb2.SummariseFiringsRequest(since=since, until=until), metadata=service.ours()
        ),
        service.evaluation.RepublishFirings(
            evaluation_pb2.RepublishFiringsRequest(since=since, until=until), metadata=service.ours()
        ),
    ]
    for call in too_long:
        assert (await _refused(call)).violations[0].field == "until"
    [repeat] = await service.published(1)
    assert repeat.data == message.data
    assert repeat.headers["Nats-Msg-Id"].startswith(f"{firing}:")

    async def verdict() -> int:
        reference = evaluation_pb2.FiringReference(partner_id=1, firing_id=str(firing))
        found = await service.evaluation.RecheckFirings(
            evaluation_pb2.RecheckFiringsRequest(firings=[reference]), metadata=service.ours()
        )
        return int(found.firings[0].verdict)

    assert await verdict() == evaluation_pb2.RECHECK_VERDICT_HOLDS
    service.clock.advance(timedelta(minutes=1))
    rich = fact_pb2.PutAccountsRequest(accounts=[_account(balance="900")])
    await service.facts.PutAccounts(rich, metadata=service.bank())
    assert await verdict() == evaluation_pb2.RECHECK_VERDICT_NO_LONGER_TRUE
    await service.alerts.DeleteAlert(alert_pb2.DeleteAlertRequest(id=made.id), metadata=service.user())
    assert await verdict() == evaluation_pb2.RECHECK_VERDICT_ALERT_GONE


async def test_deleted_facts_fire_nothing(service: Service) -> None:
    """And deleting what is not there is no error."""
    await service.facts.PutAccounts(fact_pb2.PutAccountsRequest(accounts=[_account()]), metadata=service.bank())
    reference = fact_pb2.FactReference(type=fact_pb2.FACT_TYPE_ACCOUNT, id=1)
    for _ in range(2):
        request = fact_pb2.DeleteFactsRequest(facts=[reference, fact_pb2.FactReference(id=1)])
        answer = await service.facts.DeleteFacts(request, metadata=service.bank())
        assert (answer.accepted, answer.rejected[0].index) == (1, 1)
    assert (await _create(service, _threshold(), service.user())).trigger_count == 0
