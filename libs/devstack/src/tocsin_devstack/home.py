"""What `tocsin up` keeps between starts, in TOCSIN_HOME: data, secrets, logs; and the ports of one start."""

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from random import SystemRandom

from tocsin_devstack.wiring import Secrets

GRPC = {"scheduler": 50051, "evaluator": 50052, "dispatcher": 50053, "gateway": 50054}
ADMIN = {"scheduler": 9101, "evaluator": 9102, "dispatcher": 9103, "gateway": 9104}
NATS_PORT, SENDGRID_PORT, TWILIO_PORT, PUSH_PORT, WEBHOOKS_PORT = 4222, 8025, 8026, 8027, 8028
SMTP_PORT, SMTP_CONTROL_PORT = 8029, 8030
_PORTS_TRIED = 200


class NoFreePort(Exception):
    """Every port from the preferred one on is taken."""


@dataclass(frozen=True)
class Home:
    """The folder of one installation on a laptop."""

    directory: Path

    @property
    def postgres(self) -> Path:
        """PostgreSQL's folder."""
        return self.directory / "postgres"

    @property
    def nats(self) -> Path:
        """NATS' folder."""
        return self.directory / "nats"

    def log(self, name: str) -> Path:
        """The log of one child process."""
        return self.directory / "logs" / f"{name}.log"

    @property
    def simulators(self) -> Path:
        """The settings file of the simulators' process."""
        return self.directory / "simulators.json"

    @property
    def environment(self) -> Path:
        """Settings that the `tocsin` command reads where it is called beside this folder."""
        return self.directory / "env"

    def secrets(self) -> Secrets:
        """Those of earlier starts, generated at the first one; only this user may read them."""
        path = self.directory / "secrets.json"
        if path.exists():
            return Secrets(**json.loads(path.read_text()))
        self.directory.mkdir(parents=True, exist_ok=True)
        made = Secrets.by(SystemRandom())
        self.write_private(path, json.dumps(asdict(made), indent=2))
        return made

    def write_private(self, path: Path, text: str) -> None:
        """Write a file that nobody else may read."""
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)

    @property
    def has_first_facts(self) -> bool:
        """Whether the first user and account were posted at an earlier start: they are the user's own since then."""
        return (self.directory / "first-facts").exists()

    def note_first_facts(self) -> None:
        """They are posted now."""
        (self.directory / "first-facts").touch()


class Ports:
    """Hands out ports of 127.0.0.1, stepping around those that are taken."""

    def __init__(self) -> None:
        self._given: set[int] = set()

    def near(self, preferred: int) -> int:
        """`preferred`, or the next one that nobody listens on. Raises NoFreePort."""
        for port in range(preferred, min(preferred + _PORTS_TRIED, 65536)):
            if port not in self._given and _is_free(port):
                self._given.add(port)
                return port
        raise NoFreePort(f"no free port from {preferred} on")


@dataclass(frozen=True)
class Places:
    """The ports of everything, chosen at this start."""

    http: int
    nats: int
    sendgrid: int
    twilio: int
    push: int
    webhooks: int
    smtp: int
    smtp_control: int
    grpc: Mapping[str, int]
    admin: Mapping[str, int]

    @classmethod
    def choose(cls, port: int) -> "Places":
        """The usual ports, or the next free ones."""
        ports = Ports()
        return cls(
            http=ports.near(port),
            nats=ports.near(NATS_PORT),
            sendgrid=ports.near(SENDGRID_PORT),
            twilio=ports.near(TWILIO_PORT),
            push=ports.near(PUSH_PORT),
            webhooks=ports.near(WEBHOOKS_PORT),
            smtp=ports.near(SMTP_PORT),
            smtp_control=ports.near(SMTP_CONTROL_PORT),
            grpc={service: ports.near(usual) for service, usual in GRPC.items()},
            admin={service: ports.near(usual) for service, usual in ADMIN.items()},
        )

    @property
    def url(self) -> str:
        """The gateway's address."""
        return f"http://127.0.0.1:{self.http}"

    @property
    def simulators_ready(self) -> str:
        """Answers once all simulators serve (Twilio's is the last to start)."""
        return f"http://127.0.0.1:{self.twilio}/_control/account"


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
