"""The command with all its parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points

import typer

from tocsin_cli.commands import (
    audit,
    backtest,
    config,
    dead_letters,
    deliveries,
    evaluations,
    explain,
    import_files,
    jobs,
    migrate,
    replay,
    schedules,
    timeline,
    token,
)

#: Adds commands to the app.
Plugin = Callable[[typer.Typer], None]

_COMMANDS: tuple[Plugin, ...] = (
    migrate.register,
    config.register,
    token.register,
    import_files.register,
    explain.register,
    backtest.register,
    jobs.register,
    schedules.register,
    timeline.register,
    deliveries.register,
    dead_letters.register,
    audit.register,
    evaluations.register,
    replay.register,
)


def plugins() -> list[Plugin]:
    """What installed packages add, by name."""
    return [entry.load() for entry in sorted(entry_points(group="tocsin.commands"), key=lambda entry: entry.name)]


def make_app(added: Sequence[Plugin] = ()) -> typer.Typer:
    """The command, with the commands of `added` after our own."""
    app = typer.Typer(
        name="tocsin",
        help="Run and look after Tocsin: alerts and notifications for personal finance.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    for register in (*_COMMANDS, *added):
        register(app)
    return app
