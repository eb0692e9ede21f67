"""Runs a simulation from nothing: servers in a temporary folder, databases, the stack, the account, the sum."""

import gc
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import nats
import uvloop
from nats.js import JetStreamContext
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tocsin_devstack.bank import Bank
from tocsin_devstack.contracts import provider_documents
from tocsin_devstack.faults import CallbackFault, CallFault
from tocsin_devstack.frontend import Frontend
from tocsin_devstack.nats import running_nats
from tocsin_devstack.postgres import SERVICES, Databases, PostgresServer, role_of, running_postgres
from tocsin_devstack.reading import reading
from tocsin_devstack.report import Report
from tocsin_devstack.scenario import PARTNER_ID, Scenario
from tocsin_devstack.server import Account
from tocsin_devstack.simulation import Lived, World, live
from tocsin_devstack.stack import Stack, stack
from tocsin_devstack.summary import summed_up
from tocsin_kit.clock import Clock, SteppedClock
from tocsin_kit.postgres.migrate import migrate
from tocsin_kit.telemetry.logs import configure_logs

LOG_HASH_KEY = "simulation"


def rehearse(
    scenario: Scenario, seed: int, clock: Clock, began: datetime, faults: Sequence[CallFault | CallbackFault] = ()
) -> str:
    """Live through a scenario, print the account and the sum, and answer what failed: empty when nothing did.

    `clock` is the real one, `began` when the command began by it, `faults` what the simulated providers do wrong.
    Servers are started from here, the main thread, and end with it, however it ends.
    """
    console = Console()
    configure_logs("ERROR", LOG_HASH_KEY)
    bar = (TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), TextColumn("days"), TimeElapsedColumn())
    with (
        TemporaryDirectory(prefix="tocsin-") as folder,
        running_postgres(Path(folder) / "postgres", durable=False) as postgres,
        running_nats(Path(folder) / "nats") as broker,
        Progress(*bar, console=console, disable=not console.is_terminal, transient=True) as progress,
    ):
        task = progress.add_task("days", total=scenario.days)
        report = Report(console, scenario)
        lived, providers = uvloop.run(
            _lived(postgres, broker.url, scenario, seed, faults, report, lambda: progress.advance(task))
        )
        summary = summed_up(lived.facts, lived.books, providers, scenario.days, clock.now() - began)
    report.closing(summary.as_json())
    return summary.complaint


async def _lived(
    postgres: PostgresServer,
    nats_url: str,
    scenario: Scenario,
    seed: int,
    faults: Sequence[CallFault | CallbackFault],
    report: Report,
    day_done: Callable[[], None],
) -> tuple[Lived, tuple[Account, ...]]:
    urls = await _migrated(postgres)
    behind_their_backs = {service: postgres.url(role_of(service)) for service in SERVICES}
    async with (
        stack(
            urls, nats_url, clock=SteppedClock(scenario.starts_at), seed=seed, contracts=provider_documents()
        ) as running,
        reading(behind_their_backs) as databases,
        _streams(nats_url) as streams,
    ):
        for fault in faults:
            running.faults.order(fault)
        world = World(running, _bank(running), _frontend(running, scenario), databases, streams)
        gc.freeze()  # what four services have loaded stays: no need to look through it again and again
        lived = await live(world, scenario, report, day_done)
        return lived, (running.sendgrid.account, running.twilio.account)


async def _migrated(postgres: PostgresServer) -> Mapping[str, str]:
    databases = Databases(postgres)
    urls = {service: await databases.create(service) for service in SERVICES}
    for service, url in urls.items():
        await migrate(url, f"tocsin_{service}")
    return urls


def _bank(running: Stack) -> Bank:
    return Bank(running.channels["evaluator"], running.service_token(PARTNER_ID))


def _frontend(running: Stack, scenario: Scenario) -> Frontend:
    tokens = {person.user_id: running.user_token(person.user_id, PARTNER_ID) for person in scenario.people}
    return Frontend(running.http, running.base_url, tokens, running.admin_token())


@asynccontextmanager
async def _streams(nats_url: str) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(nats_url)
    try:
        yield client.jetstream()
    finally:
        await client.close()
