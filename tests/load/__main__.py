"""The command `make bench` runs."""

import argparse
import asyncio
import os
import platform
import sys
from collections.abc import Callable, Coroutine, Mapping

from rich.console import Console

from tests.load.dispatcher import draining, leading, taking_in
from tests.load.evaluator import ingesting, sweeping
from tests.load.measures import Measure, as_line, load_baseline, save_baseline, show

Suite = Callable[[Console, float], Coroutine[None, None, list[Measure]]]
SUITES: Mapping[str, tuple[Suite, ...]] = {
    "evaluator": (sweeping.measure, ingesting.measure),
    "dispatcher": (draining.measure, taking_in.measure, leading.measure),
}


def main() -> int:
    """Run what was asked for; status 1 when a budget is not met."""
    parser = argparse.ArgumentParser(prog="make bench", description="Measure the budgets of the design pages.")
    parser.add_argument("--only", choices=sorted(SUITES), help="one service's budgets")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full data; below 1 only to try it out")
    parser.add_argument(
        "--save", action="store_true", help="keep this run as the baseline later ones are compared with"
    )
    asked = parser.parse_args()
    console = Console(stderr=True, width=160)
    measures: list[Measure] = []
    for name, suites in SUITES.items():
        if asked.only in (None, name):
            for suite in suites:
                measures += asyncio.run(suite(console, asked.scale))
    show(console, measures, load_baseline())
    if asked.save:
        save_baseline(measures, machine())
    print(as_line(measures))
    return 0 if asked.scale < 1 or all(each.is_met for each in measures) else 1


def machine() -> str:
    """What the numbers were measured on."""
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
