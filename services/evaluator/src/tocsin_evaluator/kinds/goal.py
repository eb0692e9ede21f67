"""Goal: what is saved reached a milestone, once per milestone for the goal's life."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, literal_column

from tocsin_evaluator.kinds.kind import Clause, Kind, Percents, Rows, money_text
from tocsin_evaluator.kinds.past import NoHistory
from tocsin_evaluator.model.words import KindName
from tocsin_evaluator.store.tables import goals


def clauses(rows: Rows, percent: ColumnElement[int]) -> Sequence[Clause]:
    """At least `percent` of the target is saved; a target of 0 is never reached.

    Which milestones were passed before is asked of the occurrences.
    """
    f = rows.fact.c
    target = {"target_amount": money_text(f.target_amount)}
    values = {"current_amount": money_text(f.current_amount), **target, "percent": percent}
    return (
        Clause("has_target", f.target_amount > 0, target),
        Clause("reached", f.current_amount * 100 >= percent * f.target_amount, values),
    )


def key(rows: Rows, percent: ColumnElement[int]) -> ColumnElement[str]:
    """`milestone:` and its percent."""
    return literal_column("'milestone:'").concat(cast(percent, Text))


def context(rows: Rows) -> dict[str, ColumnElement[Any]]:
    """The goal as it stood."""
    f = rows.fact.c
    return {
        "goal_id": f.id,
        "goal": f.name,
        "current_amount": money_text(f.current_amount),
        "target_amount": money_text(f.target_amount),
        "currency": f.currency,
    }


def history(_: Mapping[str, Any]) -> NoHistory:
    """None: a goal's row holds what is saved now."""
    return NoHistory("what a goal held in the past is not stored, so its milestones cannot be dated")


PERCENTS = Percents(clauses, key)

KIND = Kind(
    name=KindName.GOAL,
    fact=goals,
    clauses=PERCENTS.lowest,
    context=context,
    history=history,
    percents=PERCENTS,
    is_swept=True,
    silent_when_new=True,
)
