"""`tocsin import` into a real evaluator: history fires nothing, news does, and importing again changes nothing."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import grpc
import pytest
import pytest_asyncio
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from tocsin.alerts.v1 import alert_pb2, alert_pb2_grpc
from tocsin.types.v1 import types_pb2
from tocsin_cli.app import make_app
from tocsin_devstack.fixtures import MakeDatabase
from tocsin_evaluator.app import evaluator
from tocsin_evaluator.settings import EvaluatorSettings
from tocsin_kit.activity import Activity
from tocsin_kit.clock import SteppedClock
from tocsin_kit.ids import SeededIds
from tocsin_kit.messaging.streams import apply_to
from tocsin_kit.rpc.caller import Scope
from tocsin_kit.rpc.tokens import mint_dev_token
from tocsin_kit.settings import Environment

_SECRET = "s" * 32
_NEVER = datetime(2100, 1, 1, tzinfo=UTC)
#: A card's export of 1 to 3 November 2025 (the clock stands at noon of the 3rd), with one exact repeat.
#: Too few amounts to tell by their number which way they went.
SPENDING = ("--sign", "reversed")
CARDS = """Date,Merchant,Amount,Card Number,Category
2025-11-01,Bike Shop,250.00,****1234,Sport
2025-11-02,Corner Shop,12.50,****1234,Food
2025-11-03,Bike Shop,120.00,****9876,Sport
2025-11-03,Bike Shop,120.00,****9876,Sport
2025-11-03,Bike Shop,-120.00,****9876,Sport
2025-11-03,Bike Shop,free,****9876,Sport
"""
CHECKING = """Date,Description,Amount,Balance
2025-11-02,RENT,-900.00,600.00
2025-11-03,GROCERIES,-150.00,450.00
"""


@dataclass(frozen=True)
class Bank:
    """One evaluator, its database, the command of bank 1, and its user 1."""

    channel: grpc.aio.Channel
    target: str
    database: str

    async def imports(self, file: Path, *arguments: str) -> Result:
        """Run `tocsin import`; it has a loop of its own, so it gets a thread."""
        environment = {"TOCSIN_TOKEN": _token("bank", Scope.SERVICE), "TOCSIN_EVALUATOR_TARGET": self.target}
        command = ["import", str(file), "--user", "1", "--yes", *arguments]
        return await asyncio.to_thread(lambda: CliRunner().invoke(make_app(), command, env=environment))

    async def wants(self, alert: alert_pb2.Alert) -> int:
        """The user creates an alert: its id."""
        request = alert_pb2.CreateAlertRequest(alert=alert)
        made = await alert_pb2_grpc.AlertServiceStub(self.channel).CreateAlert(request, metadata=_user())
        return int(made.alert.id)

    async def fired(self, alert_id: int) -> int:
        """How often an alert has fired."""
        request = alert_pb2.ListFiringsRequest(id=alert_id, page_size=200)
        return len((await alert_pb2_grpc.AlertServiceStub(self.channel).ListFirings(request, metadata=_user())).firings)

    async def asks(self, query: str) -> Any:
        """One value of the evaluator's database."""
        connection = await asyncpg.connect(self.database)
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()


def _token(subject: str, scope: Scope) -> str:
    return mint_dev_token(_SECRET, subject=subject, scopes=(scope,), partner_id=1, expires_at=_NEVER)


def _user() -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {_token('1', Scope.USER)}"),)


@pytest_asyncio.fixture
async def bank(make_database: MakeDatabase, broker_url: str, clock: SteppedClock) -> AsyncIterator[Bank]:
    await apply_to(broker_url)
    url = await make_database("evaluator")
    settings = EvaluatorSettings(
        env=Environment.DEV,
        database_url=SecretStr(url),
        nats_url=broker_url,
        grpc_port=0,
        admin_port=0,
        jwt_secret=SecretStr(_SECRET),
        internal_key=SecretStr("k" * 32),
    )
    async with evaluator(
        settings,
        clock=clock,
        ids=SeededIds(1, clock),
        random=Random(1),
        metrics=CollectorRegistry(),
        tracer_provider=TracerProvider(),
        activity=Activity(),
    ) as running:
        target = f"127.0.0.1:{running.ports['grpc']}"
        async with grpc.aio.insecure_channel(target) as channel:
            yield Bank(channel, target, url)


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes a zipped file."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()))
        return path

    return write


def _over_100() -> alert_pb2.Alert:
    limit = alert_pb2.TransactionLimitCondition(
        amount="100", currency="USD", direction=alert_pb2.TRANSACTION_DIRECTION_DEBIT
    )
    return alert_pb2.Alert(transaction_limit=limit)


async def test_history_fires_nothing_and_news_does(bank: Bank, file: Callable[[str, str], Path]) -> None:
    """Each of two true purchases fires; the refund and what was told as history do not."""
    limit, cards = await bank.wants(_over_100()), file("cards.csv.gz", CARDS)
    result = await bank.imports(cards, *SPENDING)
    assert (result.exit_code, "6 rows read, 5 accepted, 1 refused, 1 repeats" in result.output) == (1, True), (
        result.output
    )
    assert await bank.asks("SELECT count(*) FROM transactions") == 5
    assert await bank.fired(limit) == 0
    news = CARDS.replace("Bike Shop,120.00", "Boat Shop,130.00")
    assert (await bank.imports(file("news.csv.gz", news), *SPENDING, "--live")).exit_code == 1
    assert await bank.fired(limit) == 2
    assert await bank.asks("SELECT count(*) FROM transactions") == 7, "the other rows were there already"
    assert (await bank.imports(file("news.csv.gz", news), *SPENDING, "--live")).exit_code == 1
    assert await bank.fired(limit) == 2, "importing again changes nothing"


async def test_repeats_that_are_told_to_be_the_same_fire_once(bank: Bank, file: Callable[[str, str], Path]) -> None:
    limit, cards = await bank.wants(_over_100()), file("cards.csv.gz", CARDS)
    assert (await bank.imports(cards, *SPENDING, "--live", "--repeats", "same")).exit_code == 1
    assert await bank.fired(limit) == 2, "250.00 two days ago and 120.00 today"


async def test_balances_of_a_file_open_the_account_and_leave_a_newer_one_alone(
    bank: Bank, file: Callable[[str, str], Path]
) -> None:
    checking = file("checking.csv.gz", CHECKING)
    named = ("--account", "11", "--account-name", "Checking")
    result = await bank.imports(checking, *named)
    assert result.exit_code == 0, result.output
    assert await bank.asks("SELECT balance FROM accounts WHERE id = 11 AND name = 'Checking'") == 450
    later = CHECKING + "2025-11-03,REFUND,50.00,500.00\n"
    assert (
        await bank.imports(file("later.csv.gz", later), "--account", "11", "--account-name", "Other")
    ).exit_code == 0
    assert await bank.asks("SELECT balance FROM accounts WHERE id = 11 AND name = 'Checking'") == 500
    assert (await bank.imports(checking, *named)).exit_code == 0
    assert await bank.asks("SELECT balance FROM accounts WHERE id = 11") == 500


async def test_a_live_balance_fires_a_threshold(bank: Bank, file: Callable[[str, str], Path]) -> None:
    condition = alert_pb2.AccountThresholdCondition(
        account_id=11, threshold="500", currency="USD", direction=types_pb2.THRESHOLD_DIRECTION_BELOW
    )
    low = await bank.wants(alert_pb2.Alert(account_threshold=condition))
    checking = file("checking.csv.gz", CHECKING)
    assert (await bank.imports(checking, "--account", "11")).exit_code == 0
    assert await bank.fired(low) == 0
    news = CHECKING + "2025-11-03,FEE,-10.00,440.00\n"
    assert (await bank.imports(file("news.csv.gz", news), "--account", "11", "--live")).exit_code == 0
    assert await bank.fired(low) == 1


async def test_an_id_of_another_user_is_refused_by_its_line(bank: Bank, file: Callable[[str, str], Path]) -> None:
    text = '{"type": "account", "id": "5", "user_id": "%s", "name": "N", "balance": "1", "currency": "USD"}\n'
    assert (await bank.imports(file("one.jsonl.gz", text % 1))).exit_code == 0
    result = await bank.imports(file("two.jsonl.gz", "\n" + text % 2))
    assert (result.exit_code, "belongs to another user" in result.output) == (1, True), result.output
    assert "1 rows read, 0 accepted, 1 refused" in result.output
