"""The four services and the provider simulators as own processes on the real clock, as `make run` starts them."""

import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random
from subprocess import Popen, run

import aiohttp
import nats
from nats.js import JetStreamContext

from tests.chaos.callers import Callers
from tests.chaos.providers import Providers
from tests.chaos.waiting import until
from tocsin_devstack.contracts import provider_documents
from tocsin_devstack.faults import Provider, Receiver
from tocsin_devstack.nats import free_port
from tocsin_devstack.processes import spawn, stop
from tocsin_devstack.reading import Databases, reading
from tocsin_devstack.scenario import PARTNER_ID
from tocsin_devstack.simulators import SimulatorSettings
from tocsin_devstack.wiring import Secrets, Wiring, target_of
from tocsin_kit.activity import Activity

SERVICES = ("scheduler", "evaluator", "dispatcher", "gateway")
SECOND_DISPATCHER = "dispatcher-2"
#: How long a provider takes to answer, and then from one event of a message to the next.
LATENCY, EVENT_STEP = timedelta(milliseconds=300), timedelta(seconds=1)
#: Longer than a call's time limit of ten seconds, so that no living worker's delivery is taken for lost.
LEASE = timedelta(seconds=15)
_ANSWER_LIMIT = aiohttp.ClientTimeout(total=12)


@dataclass(frozen=True)
class Conditions:
    """Under which the processes live. `dispatcher` are further settings of it; `lease` is longer than a call's time
    limit, so that no living worker's delivery is taken for lost; with `smtp` e-mail may leave by it too."""

    lease: timedelta = LEASE
    latency: timedelta = LATENCY
    event_step: timedelta = EVENT_STEP
    smtp: bool = False
    dispatcher: Mapping[str, str] = field(default_factory=dict)


class Processes:
    """The processes, each on the same ports whenever it is started; a second dispatcher where one is asked for."""

    def __init__(
        self, folder: Path, urls: Mapping[str, str], nats_url: str, conditions: Conditions | None = None
    ) -> None:
        self._folder = folder
        self._conditions = conditions or Conditions()
        self.secrets = Secrets.by(Random(1))
        self._ports = {name: free_port() for name in (*SERVICES, SECOND_DISPATCHER)}
        self.admin_ports = {name: free_port() for name in (*SERVICES, SECOND_DISPATCHER)}
        self._http_port = free_port()
        self.url = f"http://127.0.0.1:{self._http_port}"
        simulated = self._simulated()
        (folder / "simulators.json").write_text(simulated.model_dump_json())
        self.provider_urls = {
            Provider.SENDGRID: f"http://127.0.0.1:{simulated.sendgrid_port}",
            Provider.TWILIO: f"http://127.0.0.1:{simulated.twilio_port}",
        }
        self.receiver_urls = {
            Receiver.WEBPUSH: f"http://127.0.0.1:{simulated.push_port}",
            Receiver.WEBHOOK: f"http://127.0.0.1:{simulated.webhooks_port}",
            Receiver.SMTP: f"http://127.0.0.1:{simulated.smtp_control_port}",
        }
        self._wiring = Wiring(
            secrets=self.secrets,
            database_urls=urls,
            nats_url=nats_url,
            public_url=self.url,
            sendgrid_url=self.provider_urls[Provider.SENDGRID],
            sendgrid_public_key=simulated.sendgrid(Activity()).public_key,
            twilio_url=self.provider_urls[Provider.TWILIO],
            smtp_port=simulated.smtp_port if self._conditions.smtp else None,
            local_endpoints=[f"127.0.0.1:{port}" for port in (simulated.push_port, simulated.webhooks_port)],
            targets={service: target_of([self._ports[service]]) for service in SERVICES},
        )
        self._simulators = spawn(
            [sys.executable, "-m", "tocsin_devstack.simulators", folder / "simulators.json"],
            log=folder / "simulators.log",
        )
        self._services: dict[str, Popen[bytes]] = {}
        for service in SERVICES:
            self.start(service)

    def _simulated(self) -> SimulatorSettings:
        return SimulatorSettings(
            sendgrid_port=free_port(),
            sendgrid_api_key=self.secrets.sendgrid_api_key,
            twilio_port=free_port(),
            twilio_account_sid=self.secrets.twilio_account_sid,
            twilio_auth_token=self.secrets.twilio_auth_token,
            push_port=free_port(),
            webhooks_port=free_port(),
            smtp_port=free_port(),
            smtp_control_port=free_port(),
            smtp_password=self.secrets.smtp_password,
            public_url=self.url,
            contracts=provider_documents(),
            latency=self._conditions.latency,
            callback_step=self._conditions.event_step,
        )

    def start(self, name: str) -> None:
        """A new process of the service, or the second dispatcher."""
        service = "dispatcher" if name == SECOND_DISPATCHER else name
        told = self._wiring.of(
            service,
            grpc_port=self._ports[name],
            admin_port=self.admin_ports[name],
            http_port=self._http_port,
        )
        lease = {"TOCSIN_LEASE_SECONDS": f"{self._conditions.lease.total_seconds():g}"}
        own = self._conditions.dispatcher if service == "dispatcher" else {}
        self._services[name] = spawn(
            [sys.executable, "-m", f"tocsin_{service}"],
            log=self._folder / f"{name}.log",
            environment={**_inherited(), **told, **lease, **own},
        )

    def kill_nine(self, name: str) -> None:
        """SIGKILL; returns when the process is gone."""
        self._services[name].kill()
        self._services[name].wait(10)

    def ended(self) -> list[str]:
        """Those that ended by themselves."""
        return [name for name, process in self._services.items() if process.poll() not in (None, -signal.SIGKILL)]

    def end(self, name: str) -> None:
        """Ask one to end, and wait for it."""
        stop(self._services.pop(name))

    def stop(self) -> None:
        """Ask all to end, then wait for them."""
        for process in self._services.values():
            process.terminate()
        for process in (*self._services.values(), self._simulators):
            stop(process)

    def audit(self) -> str:
        """What `tocsin audit` says of today's books; fails where they do not balance."""
        command: list[str | Path] = [Path(sys.executable).with_name("tocsin"), "audit", "--partner", str(PARTNER_ID)]
        told = self._wiring.of("dispatcher")
        done = run(command, env={**_inherited(), **told}, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def _inherited() -> dict[str, str]:
    return {"PATH": os.environ["PATH"]}  # noqa: TID251 - a child's, not ours


@dataclass(frozen=True)
class Suite:
    """What a test has in hand: the processes, those who call them, and the ways behind the services' backs."""

    processes: Processes
    callers: Callers
    providers: Providers
    databases: Databases
    streams: JetStreamContext

    async def ready(self, http: aiohttp.ClientSession, service: str) -> object:
        """True when the service says so."""
        try:
            async with http.get(f"http://127.0.0.1:{self.processes.admin_ports[service]}/readyz") as answer:
                return answer.status == 200 or answer.status
        except aiohttp.ClientError as error:
            return str(error)


@asynccontextmanager
async def running_suite(folder: Path, urls: Mapping[str, str], nats_url: str) -> AsyncIterator[Suite]:
    """Everything started and ready; stopped at the end."""
    processes = Processes(folder, urls, nats_url)
    try:
        async with (
            aiohttp.ClientSession(timeout=_ANSWER_LIMIT) as http,
            reading(urls) as databases,
            _streams(nats_url) as streams,
        ):
            callers = Callers(http, processes.url, processes.secrets)
            suite = Suite(processes, callers, Providers(http, processes.provider_urls), databases, streams)
            for service in SERVICES:
                await until(f"{service} ready", partial(suite.ready, http, service))
            yield suite
    finally:
        processes.stop()


@asynccontextmanager
async def _streams(nats_url: str) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(nats_url)
    try:
        yield client.jetstream()
    finally:
        await client.close()
