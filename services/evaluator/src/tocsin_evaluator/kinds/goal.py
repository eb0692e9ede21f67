"""Goal: what is saved reached a milestone, once per milestone for the goal's life."""

from typing import Any

from sqlalchemy import ColumnElement, Text, and_, cast, literal_column

from tocsin_evaluator.kinds.kind import Kind, Percents, Rows, lowest_percent, money_text
from tocsin_evaluator.model.words import KindName
from tocsin_evaluator.store.tables import goals


def reached(rows: Rows, percent: ColumnElement[int]) -> ColumnElement[bool]:
    """At least `percent` of the target is saved; a target of 0 is never reached."""
    f = rows.fact.c
    return and_(f.target_amount > 0, f.current_amount * 100 >= percent * f.target_amount)


def condition(rows: Rows) -> ColumnElement[bool]:
    """At least the lowest milestone is reached; which of them were passed before is asked of the occurrences."""
    return reached(rows, lowest_percent(rows))


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


KIND = Kind(
    name=KindName.GOAL,
    fact=goals,
    condition=condition,
    context=context,
    percents=Percents(reached=reached, key=key),
    is_swept=True,
    silent_when_new=True,
)
