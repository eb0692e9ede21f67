"""The whole suite for each test: four services on real PostgreSQL and NATS, simulators, a clock the test moves."""

import io
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import structlog

from tests.acceptance.timetable import Timetable
from tocsin_devstack.fixtures import MakeDatabase
from tocsin_devstack.nats import NatsServer
from tocsin_devstack.reading import reading
from tocsin_devstack.stack import APPS, Stack, stack
from tocsin_kit.clock import Clock, SteppedClock
from tocsin_kit.telemetry.logs import configure_logs

OpenStack = Callable[..., AbstractAsyncContextManager[Stack]]
OpenTimetable = Callable[..., AbstractAsyncContextManager[Timetable]]

#: What no log line may show, told apart from what masks it in the kit.
_PRIVATE = re.compile(
    r"""[\w.+-]+@[\w-]+\.\w     # an e-mail address
      | \+\d{8}                  # a telephone number
      | eyJ\w|SG\.\w{8}|Bearer\s\w{8}  # a token, a provider's key
      | [$€£]\s?\d|(?<![\d.:])\d+\.\d{2}(?![\d.])  # an amount
    """,
    re.VERBOSE,
)


def private_lines(log: str) -> list[str]:
    """The lines of a log that show an address, a number, an amount or a token."""
    return [line for line in log.splitlines() if _PRIVATE.search(line)]


@pytest.fixture
def provider_documents(pytestconfig: pytest.Config) -> Path | None:
    """The providers' own documents, against which the simulators check requests where they are present."""
    folder = pytestconfig.rootpath.parent / "shared" / "provider-contracts"
    return folder if folder.is_dir() else None


@pytest.fixture
def open_stack(
    make_database: MakeDatabase, nats: NatsServer, broker_url: str, provider_documents: Path | None
) -> OpenStack:
    """`async with open_stack(clock) as running:` starts everything; further words go to `stack`."""

    @asynccontextmanager
    async def open_(clock: Clock, **words: Any) -> AsyncIterator[Stack]:
        databases: Mapping[str, str] = {service: await make_database(service) for service in APPS}
        async with stack(databases, nats.url, clock=clock, contracts=provider_documents, **words) as running:
            yield running

    return open_


@pytest.fixture
def timetable(open_stack: OpenStack) -> OpenTimetable:
    """`async with timetable("2025-11-03 09:00", "America/Chicago") as day:` opens a timetable at that local time."""

    @asynccontextmanager
    async def open_(start: str, zone: str = "America/Chicago", **words: Any) -> AsyncIterator[Timetable]:
        begins = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone))
        async with (
            open_stack(SteppedClock(begins), **words) as running,
            reading(running.database_urls) as databases,
        ):
            day = Timetable(running, databases, zone)
            await day.begin()
            yield day
            await day.want()

    return open_


@pytest.fixture(autouse=True)
def log_lines() -> Iterator[io.StringIO]:
    """Everything this test has logged, at every level, as production writes it: nobody's private affairs are in it."""
    written, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers, root.level
    configure_logs("debug", "a key of this run", "acceptance", stream=written)
    root.handlers += handlers
    yield written
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    told = private_lines(written.getvalue())
    assert not told, "private affairs in the log:\n" + "\n".join(told[:5])
