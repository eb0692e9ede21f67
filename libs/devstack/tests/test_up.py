"""`tocsin up` as a person uses it: started twice, the printed lines pasted, a port taken, a child killed, Ctrl-C."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tocsin_devstack.contracts import provider_documents
from tocsin_devstack.home import Home, Ports
from tocsin_devstack.processes import is_alive
from tocsin_devstack.simulators import SimulatorSettings

UP_WITHIN, DOWN_WITHIN = 120.0, 60.0  # seconds; generous, for the machine may be busy
PORT = 3900
COMMAND = (sys.executable, "-m", "tocsin_cli", "up")


def wait_for(condition: Callable[[], bool], what: str, limit: float) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"waited {limit:g} s for {what}"
        time.sleep(0.05)


@dataclass
class Up:
    """A running `tocsin up` and what it printed."""

    process: "subprocess.Popen[bytes]"
    output: Path

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def url(self) -> str:
        found = re.search(r"Tocsin is up at (\S+)", self.said)
        assert found is not None, self.said
        return found.group(1)

    def lines(self) -> list[str]:
        return [line for line in self.said.splitlines() if line.startswith("curl ")]

    def children(self) -> dict[str, int]:
        """Process ids of the services by name."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == self.process.pid:
                found[words[2].decode() if len(words) > 2 else words[0].decode()] = int(folder.name)
        return found


@contextmanager
def running(home: Path) -> Iterator[Up]:
    output = home.parent / f"output-{time.monotonic_ns()}.txt"
    with output.open("wb") as file:
        command = [*COMMAND, "--home", str(home), "--port", str(PORT)]
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    up = Up(process, output)
    try:
        wait_for(lambda: len(up.lines()) == 3 or process.poll() is not None, "the lines to paste", UP_WITHIN)
        assert process.poll() is None, up.said
        yield up
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(DOWN_WITHIN)


def paste(line: str) -> dict[str, object]:
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True, timeout=30)
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def inbox(up: Up) -> list[object]:
    found = paste(up.lines()[2])["notifications"]
    assert isinstance(found, list)
    return found


@pytest.mark.timeout(420)
def test_the_printed_lines_work_and_a_second_start_keeps_what_they_made(tmp_path: Path) -> None:
    home = tmp_path / ".tocsin"
    with running(home) as up:
        simulators = SimulatorSettings.model_validate_json((home / "simulators.json").read_text())
        assert simulators.contracts == provider_documents(), "requests are checked against them where they are"
        assert paste(up.lines()[0])["alert_type"] == "transaction_limit"
        assert paste(up.lines()[1])["accepted"] == 1
        wait_for(lambda: len(inbox(up)) == 1, "the notification", 20)
        audit = subprocess.run([*COMMAND[:3], "audit"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert (audit.returncode, audit.stderr) == (0, ""), "commands beside it need no settings"
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(DOWN_WITHIN) == 0
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", PORT))
        taken.listen()
        with running(home) as up:
            assert up.url != f"http://127.0.0.1:{PORT}", "a taken port is stepped around"
            assert len(inbox(up)) == 1
            children = up.children()
            os.kill(children["tocsin_evaluator"], signal.SIGKILL)
            assert up.process.wait(DOWN_WITHIN) == 1
            assert "evaluator ended by itself" in up.said
            assert not [name for name, pid in children.items() if is_alive(pid)]


def test_ports_that_are_taken_or_given_are_stepped_around() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ports = Ports()
        first, second = ports.near(port), ports.near(port)
        assert len({port, first, second}) == 3


def test_secrets_are_made_once_and_for_their_owner_only(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    made = home.secrets()
    assert home.secrets() == made
    assert (tmp_path / "home" / "secrets.json").stat().st_mode & 0o077 == 0
    assert len(made.internal_key) >= 32
