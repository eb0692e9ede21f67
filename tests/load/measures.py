"""What is measured, its bound, and how it compares with a run that was saved."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

BASELINE = Path(__file__).with_name("baseline.json")


@dataclass(frozen=True)
class Budget:
    """The bound of a measure, as its design page states it: at most, or at least."""

    key: str
    bound: float
    at_least: bool
    what: str

    def is_met(self, value: float) -> bool:
        """Whether a measured value keeps to it."""
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True)
class Measure:
    """What was measured; without a budget it is told beside the others, as a floor or a part of one is."""

    key: str
    value: float
    budget: Budget | None = None
    what: str = ""

    @property
    def is_met(self) -> bool:
        """Whether it keeps to its budget, if it has one."""
        return self.budget is None or self.budget.is_met(self.value)


def load_baseline() -> dict[str, float]:
    """The values of the run that was saved last; empty where none was."""
    if not BASELINE.exists():
        return {}
    saved: dict[str, float] = json.loads(BASELINE.read_text())["measures"]
    return saved


def save_baseline(measures: Iterable[Measure], machine: str) -> None:
    """Keep a run to compare later ones with; measures that it did not take stay as they were."""
    kept = {**load_baseline(), **{each.key: each.value for each in measures}}
    BASELINE.write_text(json.dumps({"machine": machine, "measures": dict(sorted(kept.items()))}, indent=2) + "\n")


def show(console: Console, measures: Iterable[Measure], baseline: Mapping[str, float]) -> None:
    """A table for people: value, bound, whether it is met, and the ratio to the baseline."""
    table = Table("measure", "value", "bound", "", "baseline", "ratio", "what it is")
    for each in measures:
        before = baseline.get(each.key)
        table.add_row(
            each.key,
            _number(each.value),
            "" if each.budget is None else f"{'≥' if each.budget.at_least else '≤'} {each.budget.bound:g}",
            "" if each.budget is None else ("met" if each.is_met else "[bold red]NOT met[/]"),
            "" if before is None else _number(before),
            "" if not before else f"{each.value / before:.2f}",
            each.what or (each.budget.what if each.budget else ""),
        )
    console.print(table)


def as_line(measures: Iterable[Measure]) -> str:
    """The last line: `{"measures": {key: value}}`."""
    return json.dumps({"measures": {each.key: round(each.value, 4) for each in measures}})


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
