"""`tocsin config`: every setting, what it means and where its value comes from."""

from __future__ import annotations

import re
from typing import Annotated

import typer
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from tocsin_cli.services import SERVICES, ServiceName
from tocsin_cli.settings import CliSettings
from tocsin_cli.show import complain, say, table
from tocsin_kit.settings import SettingLine, complaints, described


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("config")(run)


def run(service: Annotated[ServiceName | None, typer.Argument(help="Only this service.")] = None) -> None:
    """Print every setting of every service with its value, default, meaning and source; secrets are masked.

    Exits with 1 when this environment would not do for a service that was named.
    """
    parts: list[tuple[str, type[BaseSettings]]] = [
        (known.name.value, known.settings_type()) for known in SERVICES if service in (None, known.name)
    ]
    if service is None:
        parts.append(("tocsin", CliSettings))
    complete = [_print(name, kind) for name, kind in parts]
    if service is not None and not all(complete):
        raise typer.Exit(1)


def _print(name: str, kind: type[BaseSettings]) -> bool:
    """Print the settings of one class; whether the environment satisfies it."""
    values, wrong = _read(kind)
    say(f"\n{name}")
    table(("setting", "value", "default", "source", "meaning"), map(_row, described(kind, values)), nothing="none")
    for line in wrong:
        complain(line)
    return not wrong


def _read(kind: type[BaseSettings]) -> tuple[BaseSettings | None, list[str]]:
    try:
        return kind(), []
    except ValidationError as error:
        return None, complaints(kind, error)


def _row(line: SettingLine) -> tuple[str, str, str, str, str]:
    source = "default" if line.is_default else "environment"
    return line.variable, _masked(line.value), _masked(line.default), source, line.meaning


def _masked(value: str) -> str:
    """The value without the password of a URL."""
    return re.sub(r"(://[^/\s:@]*:)[^@\s/]+@", r"\1**********@", value)
