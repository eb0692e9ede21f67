"""The embedded PostgreSQL and NATS: separation of roles, leftovers, crashes, and no orphan."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from tocsin_devstack.fixtures import MakeDatabase
from tocsin_devstack.nats import NatsServer, free_port, running_nats
from tocsin_devstack.postgres import AlreadyRunning, Databases, PostgresServer, running_postgres
from tocsin_devstack.processes import is_alive

LIMIT = 20.0  # seconds


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f"waited {LIMIT:g} s for {what}"


async def test_a_service_reaches_its_own_database_and_no_other(postgres: PostgresServer) -> None:
    databases = Databases(postgres)
    own = await databases.create("evaluator", "separation_evaluator")
    await databases.create("dispatcher", "separation_dispatcher")

    connection = await asyncpg.connect(own)
    assert await connection.fetchval("SELECT current_user") == "tocsin_evaluator"
    await connection.execute("CREATE TABLE it_may_create (n int)")
    await connection.close()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(postgres.url("separation_dispatcher", "tocsin_evaluator"))


async def test_the_server_takes_connections_on_its_socket_only(postgres: PostgresServer) -> None:
    connection = await asyncpg.connect(postgres.url())
    assert await connection.fetchval("SHOW listen_addresses") == ""
    assert int(await connection.fetchval("SHOW max_connections")) >= 300
    assert int(await connection.fetchval("SHOW server_version_num")) >= 180000
    await connection.close()


async def test_databases_of_a_test_are_separate(make_database: MakeDatabase) -> None:
    first, second = await make_database("gateway", migrated=False), await make_database("gateway", migrated=False)
    connection = await asyncpg.connect(first)
    await connection.execute("CREATE TABLE only_here (n int)")
    await connection.close()
    other = await asyncpg.connect(second)
    assert await other.fetchval("SELECT to_regclass('only_here')") is None
    await other.close()


async def test_a_copy_has_the_templates_tables_and_the_services_rights(postgres: PostgresServer) -> None:
    databases = Databases(postgres)
    template = await asyncpg.connect(await databases.create("scheduler", "copied_from"))
    await template.execute("CREATE TABLE kept AS SELECT 7 AS n")
    await template.close()

    copy = await asyncpg.connect(await databases.copy("scheduler", "copied_from", "copied_to"))
    assert await copy.fetchval("SELECT n FROM kept") == 7
    await copy.close()
    await databases.create("gateway")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(postgres.url("copied_to", "tocsin_gateway"))


async def test_committed_rows_survive_a_kill_and_a_second_start(tmp_path: Path) -> None:
    with running_postgres(tmp_path, durable=False) as server:
        connection = await asyncpg.connect(server.url())
        await connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        await connection.close()
        server.kill()
        assert server.pid is None
        server.start()
        connection = await asyncpg.connect(server.url())
        assert await connection.fetchval("SELECT n FROM kept") == 7
        await connection.close()


def test_one_data_directory_serves_one_program(tmp_path: Path) -> None:
    with running_postgres(tmp_path, durable=False), pytest.raises(AlreadyRunning):
        PostgresServer(tmp_path, durable=False).start()


def test_a_stale_pid_file_does_not_stop_a_start(tmp_path: Path) -> None:
    with running_postgres(tmp_path, durable=False):
        pass
    (tmp_path / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n{tmp_path}/data\n0\n5432\n\n\n\nready\n")
    with running_postgres(tmp_path, durable=False) as server:
        assert is_alive(os.getpid())
        assert server.pid is not None


STARTS_BOTH_AND_WAITS = """
import sys, threading
from pathlib import Path
from tocsin_devstack.nats import NatsServer
from tocsin_devstack.postgres import PostgresServer
postgres, nats = PostgresServer(Path(sys.argv[1]) / "postgres", durable=False), NatsServer(Path(sys.argv[1]) / "nats")
postgres.start()
nats.start()
print(postgres.pid, nats.pid, flush=True)
threading.Event().wait()
"""


def test_servers_end_with_a_program_that_is_killed(tmp_path: Path) -> None:
    program = subprocess.Popen([sys.executable, "-c", STARTS_BOTH_AND_WAITS, tmp_path], stdout=subprocess.PIPE)
    assert program.stdout is not None
    pids = [int(pid) for pid in program.stdout.readline().split()]
    assert len(pids) == 2
    program.send_signal(signal.SIGKILL)
    program.wait()
    wait_for(lambda: not any(is_alive(pid) for pid in pids), f"{pids} to end after their parent was killed")


def test_nats_keeps_its_port_and_store_over_a_kill(tmp_path: Path) -> None:
    with running_nats(tmp_path) as server:
        url, pid = server.url, server.pid
        server.kill()
        assert server.pid is None
        server.start()
        assert server.url == url
        assert server.pid not in (None, pid)


def test_a_nats_server_left_over_the_same_store_is_ended(tmp_path: Path) -> None:
    with running_nats(tmp_path) as left:
        left_pid = left.pid
        assert left_pid is not None
        with running_nats(tmp_path) as server:
            assert server.pid is not None
            wait_for(lambda: left.pid is None, "the leftover server to end")


def test_two_nats_servers_take_different_ports(nats: NatsServer, tmp_path: Path) -> None:
    with running_nats(tmp_path) as other:
        assert other.url != nats.url


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says which ports outgoing connections are given")
def test_a_free_port_is_none_that_an_outgoing_connection_could_take_before_its_server() -> None:
    first_of_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(free_port() < first_of_outgoing for _ in range(50))


def test_no_port_is_told_twice_before_its_server_could_take_it() -> None:
    assert len({free_port() for _ in range(5_000)}) == 5_000
