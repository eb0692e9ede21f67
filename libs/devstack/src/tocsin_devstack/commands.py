"""The commands that this package adds to `tocsin`: up, simulate, demo."""

import typer

from tocsin_devstack.simulate_command import register_simulation
from tocsin_devstack.up import up


def register(app: typer.Typer) -> None:
    """Add them to `app`."""
    app.command("up")(up)
    register_simulation(app)
