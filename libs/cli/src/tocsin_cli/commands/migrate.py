"""`tocsin migrate`: databases and streams brought to what this release needs."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Annotated

import typer

from tocsin_cli.services import SERVICES, Service, database_of, database_variable
from tocsin_cli.settings import CliSettings, read_settings
from tocsin_cli.show import complain, say
from tocsin_kit.messaging.streams import apply_to
from tocsin_kit.postgres.migrate import migrate
from tocsin_kit.transient import is_transient


class What(StrEnum):
    """What can be migrated by itself."""

    EVALUATOR = "evaluator"
    DISPATCHER = "dispatcher"
    SCHEDULER = "scheduler"
    GATEWAY = "gateway"
    STREAMS = "streams"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("migrate")(run)


def run(what: Annotated[What | None, typer.Argument(help="One service's database, or the streams.")] = None) -> None:
    """Bring databases and streams to what this release needs: all of them, or the one named.

    Databases are found by TOCSIN_<SERVICE>_DATABASE_URL; for one service DATABASE_URL will do. Any number of these may
    run at once: an advisory lock lets one through at a time.
    """
    settings = read_settings()
    todo = [(service, _database(service, settings, what)) for service in SERVICES if what in (None, service.name.value)]
    if missing := [database_variable(service) for service, url in todo if url is None]:
        complain("not set: " + ", ".join(missing))
        raise typer.Exit(2)
    try:
        for service, url in todo:
            if url is not None:
                say(f"{service.name.value:<11}{asyncio.run(migrate(url, service.package))}")
        if what in (None, What.STREAMS):
            asyncio.run(apply_to(settings.nats_url, settings.stream_replicas))
            say(f"{'streams':<11}applied")
    except Exception as error:
        if not is_transient(error):
            raise
        complain(f"cannot reach what is to be migrated: {type(error).__name__}")
        raise typer.Exit(1) from None


def _database(service: Service, settings: CliSettings, what: What | None) -> str | None:
    url = database_of(service, settings) or (settings.database_url if what is not None else None)
    return url.get_secret_value() if url is not None else None
