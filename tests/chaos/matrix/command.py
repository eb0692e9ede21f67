"""`python -m tests.chaos`: the whole matrix, or the rounds and ways that are asked for."""

import argparse
import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path

from rich.console import Console

from tests.chaos.matrix.auditing import Audited, audit
from tests.chaos.matrix.cells import ROUNDS, Cell, Round, Way, cells_of
from tests.chaos.matrix.people import Person
from tests.chaos.matrix.rounds import live
from tests.chaos.matrix.table import as_line, complaints, show
from tests.chaos.matrix.world import World, ways_of, world
from tocsin_devstack.fixtures import own_folder
from tocsin_kit.clock import SystemClock

OpenWorld = Callable[[], AbstractAsyncContextManager[World]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; status 1 when anything is not as it should be."""
    asked = _parser().parse_args(arguments)
    rounds = [one for one in ROUNDS if not asked.only or any(part in one.name for part in asked.only)]
    ways: frozenset[Way] = asked.ways
    console, told = Console(width=120), Console(stderr=True, width=160)
    if asked.list:
        _list(console, rounds, ways)
        return 0
    with ExitStack() as opened:
        folder = asked.keep or opened.enter_context(own_folder())
        clock = SystemClock()
        began = clock.now()
        audited = asyncio.run(run(folder, rounds, ways, told))
        took = clock.now() - began
    show(console, audited)
    print(as_line(audited, took))
    return 1 if complaints(audited) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="The fault matrix: answers of providers x ways x kills of the dispatcher, NATS and PostgreSQL. "
        "Progress goes to stderr; the table and one line of JSON to stdout. Status 1 when anything is lost, repeated "
        "without a mark, or not as expected.",
    )
    parser.add_argument(
        "--only", action="append", metavar="TEXT", help="rounds whose name contains it, as 'kill -9 after the claim'"
    )
    parser.add_argument(
        "--ways",
        type=_ways,
        default=frozenset(Way),
        metavar="NAMES",
        help=f"by comma, of {', '.join(Way)}; default all",
    )
    parser.add_argument("--list", action="store_true", help="say what there is to try, and try nothing")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep databases and logs in this new folder")
    return parser


def _ways(names: str) -> frozenset[Way]:
    return frozenset(Way(name) for name in names.split(","))


def _list(console: Console, rounds: Sequence[Round], ways: frozenset[Way]) -> None:
    listed = cells_of(rounds, list(ways))
    for one, cells in listed:
        console.print(f"{len(cells):4} {one.name}: {', '.join((*one.answers, *one.afterwards))}", highlight=False)
    console.print(f"{sum(len(cells) for _, cells in listed):4} cells")


async def run(folder: Path, rounds: Sequence[Round], ways: frozenset[Way], console: Console) -> Sequence[Audited]:
    """Live the rounds through, in the worlds that the ways need, side by side."""
    worlds = {mail: ways_of(mail, ways) for mail in (Way.SENDGRID, Way.SMTP)}
    needed = [(mail, cells_of(rounds, here)) for mail, here in worlds.items() if cells_of(rounds, here)]
    migrating = asyncio.Lock()
    return await asyncio.gather(
        *(_run_in(partial(world, _made(folder / mail), mail, migrating), mail, plan, console) for mail, plan in needed)
    )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


async def _run_in(
    open_world: OpenWorld, mail: Way, plan: Sequence[tuple[Round, Sequence[Cell]]], console: Console
) -> Audited:
    clock = SystemClock()
    began = clock.now()

    def say(what: str) -> None:
        console.print(f"{_shown(clock.now() - began)} {mail:9} {what}", highlight=False, markup=False)

    async with open_world() as here:
        say("is up")
        await here.people.introduce([Person(cell) for _, cells in plan for cell in cells])
        say(f"{sum(len(cells) for _, cells in plan)} people are introduced")
        lived = []
        for one, cells in plan:
            say(f"{one.name}: {len(cells)} cells")
            lived.append(await live(here, one, cells))
        say("all rounds are lived through; the audit")
        return await audit(here, lived)


def _shown(span: timedelta) -> str:
    return f"{span.total_seconds():6.1f} s"
