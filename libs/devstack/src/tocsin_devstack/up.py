"""`tocsin up`: PostgreSQL, NATS, the provider simulators and the four services as processes of their own.

Start: servers, databases, migrations and streams, simulators, services, first facts; then wait for a signal or for a
child that dies, and stop everything in the reverse order.
"""

import asyncio
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated, NamedTuple

import typer
from rich.console import Console

from tocsin_devstack.contracts import provider_documents
from tocsin_devstack.home import Home, NoFreePort, Places
from tocsin_devstack.nats import running_nats
from tocsin_devstack.postgres import SERVICES, AlreadyRunning, Databases, PostgresServer, running_postgres
from tocsin_devstack.processes import ChildFailed, spawn, stop, wait_until
from tocsin_devstack.simulators import SimulatorSettings
from tocsin_devstack.welcome import FirstFactsRefused, Tokens, post_first_facts, say_welcome
from tocsin_devstack.wiring import Secrets, Wiring, target_of
from tocsin_kit.activity import Activity
from tocsin_kit.clock import SystemClock
from tocsin_kit.messaging.streams import apply_to
from tocsin_kit.postgres.migrate import migrate

_READY_WITHIN = timedelta(seconds=60)
_STOPPED_WITHIN = timedelta(seconds=30)
_LOOK_LIMIT = 1.0  # seconds for one question whether a service is ready

_SIMULATORS: list[str | Path] = [sys.executable, "-m", "tocsin_devstack.simulators"]


class Child(NamedTuple):
    """A process of ours by name."""

    name: str
    process: "subprocess.Popen[bytes]"


class Interrupted(Exception):
    """Ctrl-C or SIGTERM while starting."""


def up(
    home: Annotated[Path, typer.Option(envvar="TOCSIN_HOME", help="Where data, secrets and logs are kept.")] = Path(
        ".tocsin"
    ),
    port: Annotated[int, typer.Option(envvar="PORT", help="The gateway's port, or the next free one.")] = 3000,
) -> None:
    """Start everything on this machine: PostgreSQL, NATS, provider simulators and the four services."""
    console = Console()
    signals: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda received, _: signals.put(received))
    place = Home(home.resolve())
    try:
        with ExitStack() as opened:
            children = _start(opened, place, Places.choose(port), console, signals)
            complaint = _wait(children, signals)
            console.print(complaint or "stopping", style="bold red" if complaint else None, soft_wrap=True)
    except Interrupted:
        console.print("stopped while starting")
    except (AlreadyRunning, ChildFailed, NoFreePort, FirstFactsRefused) as failure:
        console.print(f"[bold red]tocsin up failed:[/] {type(failure).__name__}", highlight=False)
        console.print(str(failure), markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None
    else:
        console.print("stopped")
        if complaint:
            raise typer.Exit(1)


def _start(opened: ExitStack, home: Home, places: Places, console: Console, signals: "SimpleQueue[int]") -> list[Child]:
    """Start everything into `opened`; the children whose death ends it all."""
    secrets = home.secrets()
    with console.status("starting PostgreSQL and NATS"):
        postgres = opened.enter_context(running_postgres(home.postgres, durable=True))
        broker = opened.enter_context(running_nats(home.nats, port=places.nats))
        urls = asyncio.run(_prepared(postgres, broker.url))
    _raise_if_interrupted(signals)
    with console.status("starting the provider simulators and the four services"):
        simulated = _simulator_settings(home, places, secrets)
        wiring = _wiring(places, secrets, urls, broker.url, simulated)
        children = opened.enter_context(_children())
        children.append(Child("simulators", spawn([*_SIMULATORS, home.simulators], log=home.log("simulators"))))
        children += [_service(service, wiring, places, home) for service in places.grpc]
        _wait_ready(children, places, home, signals)
    tokens = Tokens.by(secrets, SystemClock().now())
    if not home.has_first_facts:
        asyncio.run(post_first_facts(places.url, tokens.service))
        home.note_first_facts()
    _leave_settings(home, places, secrets, broker.url)
    say_welcome(console, places.url, _addresses(places, postgres, broker.url), tokens, home.directory)
    servers = (("PostgreSQL", postgres.process), ("NATS", broker.process))
    return [*children, *(Child(name, process) for name, process in servers if process is not None)]


def _leave_settings(home: Home, places: Places, secrets: Secrets, nats_url: str) -> None:
    """For the commands beside the stack: where its services are, and what opens them."""
    told = {
        "TOCSIN_ENV": "dev",
        **{f"TOCSIN_{service.upper()}_TARGET": f"127.0.0.1:{port}" for service, port in places.grpc.items()},
        "TOCSIN_INTERNAL_KEY": secrets.internal_key,
        "TOCSIN_JWT_SECRET": secrets.jwt_secret,
        "NATS_URL": nats_url,
    }
    home.write_private(home.environment, "".join(f"{name}={value}\n" for name, value in told.items()))


async def _prepared(postgres: PostgresServer, nats_url: str) -> dict[str, str]:
    """Databases, migrations and streams in place; the databases' addresses by service."""
    databases = Databases(postgres)
    urls = {service: await databases.create(service) for service in SERVICES}
    for service, url in urls.items():
        await migrate(url, f"tocsin_{service}")
    await apply_to(nats_url)
    return urls


def _simulator_settings(home: Home, places: Places, secrets: Secrets) -> SimulatorSettings:
    settings = SimulatorSettings(
        sendgrid_port=places.sendgrid,
        sendgrid_api_key=secrets.sendgrid_api_key,
        twilio_port=places.twilio,
        twilio_account_sid=secrets.twilio_account_sid,
        twilio_auth_token=secrets.twilio_auth_token,
        push_port=places.push,
        webhooks_port=places.webhooks,
        smtp_port=places.smtp,
        smtp_control_port=places.smtp_control,
        smtp_password=secrets.smtp_password,
        public_url=places.url,
        contracts=provider_documents(),
    )
    home.write_private(home.simulators, settings.model_dump_json(indent=2))
    return settings


def _wiring(
    places: Places, secrets: Secrets, urls: Mapping[str, str], nats_url: str, simulated: SimulatorSettings
) -> Wiring:
    return Wiring(
        secrets=secrets,
        database_urls=urls,
        nats_url=nats_url,
        public_url=places.url,
        sendgrid_url=f"http://127.0.0.1:{places.sendgrid}",
        sendgrid_public_key=simulated.sendgrid(Activity()).public_key,
        twilio_url=f"http://127.0.0.1:{places.twilio}",
        smtp_port=places.smtp,
        local_endpoints=[f"127.0.0.1:{port}" for port in (places.push, places.webhooks)],
        targets={service: target_of([port]) for service, port in places.grpc.items()},
        metrics_ports={service: port for service, port in places.admin.items() if service != "gateway"},
    )


@contextmanager
def _children() -> Iterator[list[Child]]:
    """A list of children that are stopped at the end: the gateway first, so that nobody is let in, then the rest."""
    children: list[Child] = []
    try:
        yield children
    finally:
        for child in children:
            if child.name == "gateway":
                stop(child.process, limit=_STOPPED_WITHIN)
        for child in children:
            if child.process.poll() is None:
                child.process.terminate()
        for child in children:
            stop(child.process, limit=_STOPPED_WITHIN)


def _service(service: str, wiring: Wiring, places: Places, home: Home) -> Child:
    told = wiring.of(service, grpc_port=places.grpc[service], admin_port=places.admin[service], http_port=places.http)
    inherited = {name: value for name, value in os.environ.items() if name in _PASSED_ON}  # noqa: TID251 not settings
    command = [sys.executable, "-m", f"tocsin_{service}"]
    return Child(service, spawn(command, log=home.log(service), environment={**inherited, **told}))


#: What a child needs of our own environment; its settings come from the wiring alone.
_PASSED_ON = frozenset(("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "LOG_LEVEL"))


def _wait_ready(children: list[Child], places: Places, home: Home, signals: "SimpleQueue[int]") -> None:
    """Return when every child says that it is ready; they start side by side."""
    for name, process in children:
        url = f"http://127.0.0.1:{places.admin[name]}/readyz" if name in places.admin else places.simulators_ready
        wait_until(process, partial(_answers, url), what=name, log=home.log(name), limit=_READY_WITHIN)
        _raise_if_interrupted(signals)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=_LOOK_LIMIT) as answer:  # noqa: S310 our own address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _raise_if_interrupted(signals: "SimpleQueue[int]") -> None:
    while not signals.empty():
        if signals.get() != signal.SIGCHLD:
            raise Interrupted


def _wait(children: list[Child], signals: "SimpleQueue[int]") -> str:
    """Return an empty text on SIGINT or SIGTERM, a complaint when a child ended by itself."""
    while True:
        for child in children:
            if (code := child.process.poll()) is not None:
                return f"{child.name} ended by itself with code {code}; stopping everything (see the logs folder)"
        if signals.get() != signal.SIGCHLD:
            return ""


def _addresses(places: Places, postgres: PostgresServer, nats_url: str) -> dict[str, str]:
    return {
        "reference": f"{places.url}/docs",
        "live inbox": f"{places.url.replace('http', 'ws', 1)}/api/v2/live",
        **{f"{service}": f"gRPC 127.0.0.1:{port}" for service, port in places.grpc.items() if service != "gateway"},
        "metrics": ", ".join(f"http://127.0.0.1:{port}/metrics" for port in places.admin.values()),
        "SendGrid": f"http://127.0.0.1:{places.sendgrid}/_control/account (simulated: what was e-mailed)",
        "SMTP": f"http://127.0.0.1:{places.smtp_control}/_control/account (simulated: e-mailed while SendGrid is out)",
        "Twilio": f"http://127.0.0.1:{places.twilio}/_control/account (simulated: what was texted)",
        "push": f"http://127.0.0.1:{places.push}/_control/browsers/laptop (simulated: a browser to add)",
        "webhooks": f"http://127.0.0.1:{places.webhooks}/hooks/any (simulated: an endpoint to add)",
        "PostgreSQL": postgres.url(),
        "NATS": nats_url,
    }
