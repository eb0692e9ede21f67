"""The four services, as the command knows them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pkgutil import resolve_name

from pydantic import SecretStr

from tocsin_cli.settings import CliSettings
from tocsin_kit.settings import ServiceSettings


class ServiceName(StrEnum):
    """The services, by name."""

    EVALUATOR = "evaluator"
    DISPATCHER = "dispatcher"
    SCHEDULER = "scheduler"
    GATEWAY = "gateway"


@dataclass(frozen=True)
class Service:
    """A service: its package, which brings migrations, and its settings, named so that only what is used is loaded."""

    name: ServiceName
    package: str
    settings: str

    def settings_type(self) -> type[ServiceSettings]:
        """The class of its settings."""
        found: type[ServiceSettings] = resolve_name(self.settings)
        return found


SERVICES = (
    Service(ServiceName.EVALUATOR, "tocsin_evaluator", "tocsin_evaluator.settings:EvaluatorSettings"),
    Service(ServiceName.DISPATCHER, "tocsin_dispatcher", "tocsin_dispatcher.settings:DispatcherSettings"),
    Service(ServiceName.SCHEDULER, "tocsin_scheduler", "tocsin_scheduler.settings:SchedulerSettings"),
    Service(ServiceName.GATEWAY, "tocsin_gateway", "tocsin_gateway.settings:GatewaySettings"),
)


def database_variable(service: Service) -> str:
    """The variable that says where a service's database is."""
    return f"TOCSIN_{service.name.upper()}_DATABASE_URL"


def database_of(service: Service, settings: CliSettings) -> SecretStr | None:
    """Where a service's database is; None where the settings do not say."""
    urls = {
        ServiceName.EVALUATOR: settings.evaluator_database_url,
        ServiceName.DISPATCHER: settings.dispatcher_database_url,
        ServiceName.SCHEDULER: settings.scheduler_database_url,
        ServiceName.GATEWAY: settings.gateway_database_url,
    }
    return urls[service.name]
