"""Real servers and the service under load as processes of their own; the caller is this one."""

import os
import re
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from subprocess import Popen
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import asyncpg
import nats
from nats.aio.client import Client
from sqlalchemy.engine import make_url

from tocsin_devstack.nats import NatsServer, free_port, running_nats
from tocsin_devstack.postgres import Databases, PostgresServer, running_postgres
from tocsin_devstack.processes import spawn, stop, wait_until
from tocsin_devstack.wiring import Secrets, Wiring, target_of
from tocsin_kit.messaging.streams import apply_to
from tocsin_kit.postgres.migrate import migrate
from tocsin_kit.rpc.caller import Scope

_NEVER = datetime(2200, 1, 1, tzinfo=UTC)
_START = timedelta(seconds=60)


@dataclass(frozen=True)
class Rig:
    """Servers that are up, with the address of one service's migrated database."""

    service: str
    folder: Path
    postgres: PostgresServer
    nats: NatsServer
    database_url: str
    owner_url: str
    secrets: Secrets
    grpc_port: int
    admin_port: int

    @property
    def target(self) -> str:
        """Where the service listens for gRPC."""
        return f"127.0.0.1:{self.grpc_port}"

    def token(self, partner_id: int = 1) -> tuple[str, str]:
        """gRPC metadata of a bank's back end."""
        return ("authorization", f"Bearer {self.secrets.partner_token(partner_id, Scope.SERVICE, _NEVER)}")

    def user_token(self, user_id: int, partner_id: int = 1) -> tuple[str, str]:
        """gRPC metadata of a bank's user."""
        return ("authorization", f"Bearer {self.secrets.user_token(user_id, partner_id, _NEVER)}")

    async def beside(self, service: str) -> "Rig":
        """Another service on the same servers, with a database and ports of its own."""
        url, owner_url = await _migrated(self.postgres, service)
        return replace(
            self,
            service=service,
            database_url=url,
            owner_url=owner_url,
            grpc_port=free_port(),
            admin_port=free_port(),
        )

    @contextmanager
    def serving(self, **environment: str) -> "Iterator[Popen[bytes]]":
        """The service as a process, ready; `environment` is what it is told beside, or instead of, the usual."""
        wiring = Wiring(
            secrets=self.secrets,
            database_urls={self.service: self.database_url},
            nats_url=self.nats.url,
            public_url="http://127.0.0.1:1",
            sendgrid_url="http://127.0.0.1:1",
            sendgrid_public_key="",
            twilio_url="http://127.0.0.1:1",
            targets={self.service: target_of([self.grpc_port])},
        )
        told = wiring.of(self.service, grpc_port=self.grpc_port, admin_port=self.admin_port) | environment
        with child([sys.executable, "-m", f"tocsin_{self.service}"], self.folder / f"{self.service}.log", told) as one:
            log = self.folder / f"{self.service}.log"
            wait_until(one, lambda: _answers(self.admin_port), what=self.service, log=log, limit=_START)
            yield one

    @asynccontextmanager
    async def database(self) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
        """A connection as the database's owner, with no time limit on its statements."""
        connection = await asyncpg.connect(self.owner_url)
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def broker(self) -> AsyncIterator[Client]:
        """A connection to NATS."""
        client = await nats.connect(self.nats.url)
        try:
            yield client
        finally:
            await client.close()


@asynccontextmanager
async def rig(service: str) -> AsyncIterator[Rig]:
    """Start PostgreSQL (durable, as in production) and NATS for one service, everything thrown away at the end."""
    with (
        TemporaryDirectory(prefix="tocsin-bench-") as named,
        running_postgres(Path(named) / "postgres", durable=True) as postgres,
        running_nats(Path(named) / "nats") as broker,
    ):
        url, owner_url = await _migrated(postgres, service)
        await apply_to(broker.url)
        yield Rig(
            service=service,
            folder=Path(named),
            postgres=postgres,
            nats=broker,
            database_url=url,
            owner_url=owner_url,
            secrets=Secrets.by(Random(1)),
            grpc_port=free_port(),
            admin_port=free_port(),
        )


async def _migrated(postgres: PostgresServer, service: str) -> tuple[str, str]:
    """A service's new database with its schema: its address for the service, and for the owner of all."""
    url = await Databases(postgres).create(service)
    await migrate(url, f"tocsin_{service}")
    return url, postgres.url(make_url(url).database or "")


@contextmanager
def child(command: Sequence[str], log: Path, told: Mapping[str, str]) -> "Iterator[Popen[bytes]]":
    """A child process that ends with the block."""
    one = spawn(command, log=log, environment={"PATH": os.environ["PATH"], **told})  # noqa: TID251 - the child's
    try:
        yield one
    finally:
        stop(one)


def peak_memory(process: "Popen[bytes]") -> float:
    """The most memory a process has held so far, in MiB (VmHWM of proc(5))."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return float(found[1]) / 1024 if found else 0.0


def _answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
