"""The pytest fixtures of the project, loaded as a plugin wherever `tocsin-devstack` is installed.

| fixture | scope | what |
|---|---|---|
| `postgres` | session | a running `PostgresServer` (Unix socket, not durable) in a temporary folder |
| `make_database` | test | `url = await make_database("evaluator")`: a fresh database of that service, migrated, connected to as role `tocsin_evaluator`; dropped after the test. `migrated=False` makes an empty one |
| `nats` | session | a running `NatsServer` with JetStream on a free port of 127.0.0.1 |
| `broker_url` | test | the address of `nats`, with an empty JetStream |
| `clock` | test | a `SteppedClock` that stands at `NOON` (2025-11-03 12:00 UTC, a Monday) |
| `contracts` | session | the folder `../shared/provider-contracts`, or the test is skipped where it is absent |
| `bank_data` | session | the folder `../shared/data`, or the test is skipped where it is absent |

The stack of all four services is `tocsin_devstack.stack.stack(...)`, an async context manager and no fixture, because
a test chooses its clock, seed and replicas.
"""  # noqa: E501 one table row is one line

import itertools
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import pytest
import pytest_asyncio

from tocsin_devstack.nats import NatsServer, running_nats
from tocsin_devstack.postgres import Databases, PostgresServer, running_postgres
from tocsin_kit.clock import SteppedClock

NOON = datetime(2025, 11, 3, 12, 0, tzinfo=UTC)


class MakeDatabase(Protocol):
    """What the fixture `make_database` is."""

    def __call__(self, service: str, *, migrated: bool = True) -> Awaitable[str]:
        """The address of a fresh database of `service` (evaluator, dispatcher, scheduler, gateway)."""
        ...


class Templates:
    """One migrated database per service, made when first asked for; tests get copies."""

    def __init__(self, server: PostgresServer) -> None:
        self._databases = Databases(server)
        self._made: dict[str, str] = {}
        self._numbers = itertools.count(1)

    async def copy(self, service: str) -> tuple[str, str]:
        """(name, address) of a fresh migrated database."""
        if service not in self._made:
            self._made[service] = await self._migrated(service)
        name = f"tocsin_{service}_{next(self._numbers)}"
        return name, await self._databases.copy(service, self._made[service], name)

    async def empty(self, service: str) -> tuple[str, str]:
        """(name, address) of a fresh empty database."""
        name = f"tocsin_{service}_{next(self._numbers)}"
        return name, await self._databases.create(service, name)

    async def drop(self, name: str) -> None:
        """Drop one of them."""
        await self._databases.drop(name)

    async def _migrated(self, service: str) -> str:
        from tocsin_kit.postgres.migrate import migrate  # noqa: PLC0415 Alembic is slow to import; most tests need none

        name = f"tocsin_{service}_template"
        await migrate(await self._databases.create(service, name), f"tocsin_{service}")
        return name


@contextmanager
def own_folder() -> Iterator[Path]:
    """A temporary folder that no other test session clears: pytest keeps only the last three sessions' folders."""
    with TemporaryDirectory(prefix="tocsin-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL server for the whole session."""
    with own_folder() as folder, running_postgres(folder, durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def database_templates(postgres: PostgresServer) -> Templates:
    """The migrated databases that `make_database` copies."""
    return Templates(postgres)


@asynccontextmanager
async def databases_of_a_test(templates: Templates) -> AsyncIterator[MakeDatabase]:
    """Makes databases and drops them at the end."""
    names: list[str] = []

    async def make(service: str, *, migrated: bool = True) -> str:
        name, url = await (templates.copy(service) if migrated else templates.empty(service))
        names.append(name)
        return url

    try:
        yield make
    finally:
        for name in names:
            await templates.drop(name)


@pytest_asyncio.fixture
async def make_database(database_templates: Templates) -> AsyncIterator[MakeDatabase]:
    """Fresh databases for this test: `await make_database("evaluator")` answers an address."""
    async with databases_of_a_test(database_templates) as make:
        yield make


@pytest.fixture(scope="session")
def nats() -> Iterator[NatsServer]:
    """A running NATS server with JetStream for the whole session."""
    with own_folder() as folder, running_nats(folder) as server:
        yield server


@pytest.fixture
def broker_url(nats: NatsServer) -> str:
    """The address of the NATS server, its JetStream emptied."""
    nats.wipe()
    return nats.url


@pytest.fixture
def clock() -> SteppedClock:
    """A clock that stands at NOON until the test moves it."""
    return SteppedClock(NOON)


@pytest.fixture(scope="session")
def contracts(pytestconfig: pytest.Config) -> Path:
    """The providers' own documents."""
    return shared_folder(pytestconfig.rootpath, "provider-contracts")


@pytest.fixture(scope="session")
def bank_data(pytestconfig: pytest.Config) -> Path:
    """Real bank data."""
    return shared_folder(pytestconfig.rootpath, "data")


def shared_folder(root: Path, name: str) -> Path:
    """`../shared/<name>` seen from the project; skips the test where it is absent."""
    folder = root.parent / "shared" / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there (only present in the workshop that keeps it)")
    return folder
