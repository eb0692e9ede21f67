"""`tocsin simulate` and `tocsin demo`: live through a household's or a bank file's last days, and account for them."""

import sys
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from tocsin_devstack.bank_file import BankFileError, read_bank_file
from tocsin_devstack.bank_scenario import bank_scenario
from tocsin_devstack.faults import CallbackFault, CallFault, WrittenOrders
from tocsin_devstack.household import household
from tocsin_devstack.scenario import Scenario
from tocsin_kit.clock import SystemClock

DAYS, LONGEST = 60, 90  # firings are kept for 90 days: a longer account could not be proved
SEED = 7

Data = Annotated[
    Path | None, typer.Option("--data", help="A bank's CSV file: its last days are lived through. None: a household.")
]
Days = Annotated[int, typer.Option("--days", min=1, max=LONGEST, help="How many days.")]
Seed = Annotated[int, typer.Option("--seed", help="Which household, and which chance in everything.")]
Until = Annotated[
    datetime | None, typer.Option("--until", formats=["%Y-%m-%d"], help="The household's last day. None: today.")
]
Orders = Annotated[
    Path | None,
    typer.Option(
        "--faults",
        exists=True,
        dir_okay=False,
        help="A JSON file of what the simulated providers do wrong (docs/simulation.md). None: nothing.",
    ),
]


def register_simulation(app: typer.Typer) -> None:
    """Add the commands `simulate` and `demo` to `app`."""
    app.command("simulate")(simulate)
    app.command("demo")(demo)


def simulate(
    data: Data = None, days: Days = DAYS, seed: Seed = SEED, until: Until = None, faults: Orders = None
) -> None:
    """Live through days of a household or of a bank's file, and print what was sent to whom and why."""
    from tocsin_devstack.rehearsal import rehearse  # noqa: PLC0415 it loads four services; other commands need none

    clock = SystemClock()
    began = clock.now()
    try:
        scenario = _scenario(data, days, seed, until.date() if until else began.date())
        orders = _orders(faults)
    except (BankFileError, ValidationError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None
    if complaint := rehearse(scenario, seed, clock, began, orders):
        print(complaint, file=sys.stderr)
        raise typer.Exit(1)


def demo(data: Data = None) -> None:
    """Live through the last 60 days of a household, or of a bank's file: the product doing its job."""
    simulate(data)


def _scenario(data: Path | None, days: int, seed: int, last_day: date) -> Scenario:
    if data is None:
        return household(seed, last_day, days)
    return bank_scenario(data.name, read_bank_file(data), days)


def _orders(faults: Path | None) -> tuple[CallFault | CallbackFault, ...]:
    if faults is None:
        return ()
    orders = TypeAdapter(WrittenOrders).validate_json(faults.read_bytes())
    return *orders.calls, *orders.callbacks
