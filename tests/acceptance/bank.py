"""One evaluator on a clock the test moves, and a bank that imports and posts into it."""

from __future__ import annotations

import asyncio
import csv
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import asyncpg
import grpc
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from tocsin.alerts.v1 import alert_pb2, alert_pb2_grpc, fact_pb2, fact_pb2_grpc
from tocsin_devstack.processes import spawn
from tocsin_evaluator.app import evaluator
from tocsin_evaluator.settings import EvaluatorSettings
from tocsin_kit.activity import Activity
from tocsin_kit.clock import Clock
from tocsin_kit.ids import SeededIds
from tocsin_kit.rpc.caller import Scope
from tocsin_kit.rpc.tokens import mint_dev_token
from tocsin_kit.settings import Environment

_SECRET = "s" * 32
_NEVER = datetime(2100, 1, 1, tzinfo=UTC)
_PARTNER = 1
_COMMAND = Path(sys.executable).with_name("tocsin")


@dataclass(frozen=True)
class Imported:
    """What an import printed, and its exit status."""

    status: int
    output: str


@dataclass(frozen=True)
class Bank:
    """Bank 1: its way to the evaluator, the evaluator's database, and a folder for what its imports print."""

    channel: grpc.aio.Channel
    target: str
    database: str
    folder: Path

    async def imports(self, file: Path, *arguments: str) -> Imported:
        """Run `tocsin import` in a process of its own; what it prints goes to `folder` first."""
        log = self.folder / f"{file.name}.log"
        log.unlink(missing_ok=True)
        process = spawn(
            [_COMMAND, "import", file, "--yes", *arguments],
            log=log,
            environment={
                "TOCSIN_TOKEN": _token("bank", Scope.SERVICE),
                "TOCSIN_EVALUATOR_TARGET": self.target,
                "COLUMNS": "200",
            },
            directory=self.folder,
        )
        return Imported(await asyncio.to_thread(process.wait), log.read_text())

    def refused(self, file: Path) -> list[dict[str, str]]:
        """The rows of an import's report."""
        with file.with_name(f"{file.name}.refused.csv").open(encoding="utf-8", newline="") as report:
            return list(csv.DictReader(report))

    async def wants(self, alert: alert_pb2.Alert, user: int) -> int:
        """A user creates an alert: its id."""
        request = alert_pb2.CreateAlertRequest(alert=alert)
        stub = alert_pb2_grpc.AlertServiceStub(self.channel)
        return int((await stub.CreateAlert(request, metadata=_bearer(str(user), Scope.USER))).alert.id)

    async def looks(self, alert_id: int, user: int) -> int:
        """A user has an alert evaluated: how often it fires."""
        request = alert_pb2.EvaluateAlertRequest(id=alert_id)
        stub = alert_pb2_grpc.AlertServiceStub(self.channel)
        return len((await stub.EvaluateAlert(request, metadata=_bearer(str(user), Scope.USER))).firing_ids)

    async def knows(self, people: Sequence[fact_pb2.Profile]) -> None:
        """Post people."""
        request = fact_pb2.PutProfilesRequest(profiles=people)
        answer = await fact_pb2_grpc.FactServiceStub(self.channel).PutProfiles(request, metadata=_service())
        assert not answer.rejected, answer.rejected

    async def posts(self, transactions: Sequence[fact_pb2.Transaction]) -> None:
        """Post transactions as news; all must be accepted."""
        request = fact_pb2.PostTransactionsRequest(transactions=transactions)
        answer = await fact_pb2_grpc.FactServiceStub(self.channel).PostTransactions(request, metadata=_service())
        assert not answer.rejected, answer.rejected

    async def asks(self, query: str, *values: object) -> list[asyncpg.Record]:
        """Rows of the evaluator's database."""
        connection = await asyncpg.connect(self.database)
        try:
            return await connection.fetch(query, *values)
        finally:
            await connection.close()


def _bearer(subject: str, scope: Scope) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {_token(subject, scope)}"),)


def _service() -> tuple[tuple[str, str], ...]:
    return _bearer("bank", Scope.SERVICE)


def _token(subject: str, scope: Scope) -> str:
    return mint_dev_token(_SECRET, subject=subject, scopes=(scope,), partner_id=_PARTNER, expires_at=_NEVER)


@asynccontextmanager
async def open_bank(url: str, broker_url: str, clock: Clock, folder: Path) -> AsyncIterator[Bank]:
    """Start an evaluator over the database and the broker; it stops at the end."""
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
            yield Bank(channel, target, url, folder)
