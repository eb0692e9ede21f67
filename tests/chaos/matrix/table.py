"""What is printed: a grid of blows and answers by ways, what is not good in words, and the line of JSON."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta

from rich.console import Console
from rich.table import Table

from tests.chaos.matrix.auditing import Audited
from tests.chaos.matrix.cells import Way
from tests.chaos.matrix.judging import Verdict


def show(console: Console, audited: Sequence[Audited]) -> None:
    """The grid and the complaints."""
    verdicts = sorted((verdict for one in audited for verdict in one.verdicts), key=lambda one: one.cell.number)
    console.print(_grid(verdicts))
    console.print(
        "sent, failed, waiting: what became of it.  x2: the provider took it twice, marked.  !: not as it should be.",
        highlight=False,
    )
    for complaint in complaints(audited):
        console.print(complaint, style="bold red", markup=False, highlight=False, soft_wrap=True)


def complaints(audited: Sequence[Audited]) -> list[str]:
    """Everything that is not as it should be, in words."""
    told = [line for one in audited for line in (*one.lost, *one.wrong)]
    for verdict in (verdict for one in audited for verdict in one.verdicts if not verdict.is_good):
        unmarked = [f"{verdict.unexplained} repeats without a mark"] if verdict.unexplained else []
        told.append(f"{verdict.cell}: {'; '.join((*verdict.lost, *unmarked, *verdict.wrong))}")
    return told


def as_line(audited: Sequence[Audited], took: timedelta) -> str:
    """The line of JSON: cells, what is lost, messages taken again, those of them without a mark, seconds."""
    verdicts = [verdict for one in audited for verdict in one.verdicts]
    return json.dumps(
        {
            "cells": len(verdicts),
            "lost": sum(bool(one.lost) for one in verdicts) + sum(len(_beside(one)) for one in audited),
            "repeats": sum(one.repeats for one in verdicts),
            "unexplained_repeats": sum(one.unexplained for one in verdicts),
            "seconds": round(took.total_seconds()),
        }
    )


def _beside(audited: Audited) -> set[str]:
    """What is lost of the whole world and is in no cell's verdict."""
    in_cells = {line for verdict in audited.verdicts for line in verdict.lost}
    return set(audited.lost) - in_cells


def _grid(verdicts: Sequence[Verdict]) -> Table:
    ways = [way for way in Way if any(verdict.cell.way is way for verdict in verdicts)]
    table = Table("blow", "answer", *map(str, ways), title="The fault matrix")
    rows: dict[tuple[str, str], dict[Way, Verdict]] = {}
    for verdict in verdicts:
        rows.setdefault((verdict.cell.row, verdict.cell.answer), {})[verdict.cell.way] = verdict
    before = ""
    for (blow, answer), by_way in rows.items():
        table.add_row("" if blow == before else blow, answer, *_squares(by_way, ways))
        before = blow
    return table


def _squares(by_way: Mapping[Way, Verdict], ways: Sequence[Way]) -> list[str]:
    return [_square(by_way[way]) if way in by_way else "" for way in ways]


def _square(verdict: Verdict) -> str:
    repeated = f" x{1 + verdict.repeats}" if verdict.repeats else ""
    shown = f"{verdict.fate}{repeated}"
    return shown if verdict.is_good else f"[bold red]{shown} ![/]"
