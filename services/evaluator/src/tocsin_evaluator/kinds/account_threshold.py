"""Account threshold: the balance of an open account is below or above an amount. Equality is neither."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, literal_column, not_, or_

from tocsin_evaluator.kinds.kind import STALE_AFTER, Clause, Kind, Rows, instant_text, money_text
from tocsin_evaluator.kinds.past import BALANCES, History
from tocsin_evaluator.model.words import Direction, KindName, Reason, Repeat
from tocsin_evaluator.store.tables import accounts


def clauses(rows: Rows) -> Sequence[Clause]:
    """The account is open, and its balance is beyond the threshold."""
    a, f = rows.alert.c, rows.fact.c
    below = and_(a.direction == Direction.BELOW, f.balance < a.amount)
    above = and_(a.direction == Direction.ABOVE, f.balance > a.amount)
    values = {"balance": money_text(f.balance), "threshold": money_text(a.amount), "direction": a.direction}
    return (
        Clause("open", f.closed_at.is_(None), {"closed_at": instant_text(f.closed_at)}),
        Clause("beyond", or_(below, above), values),
    )


def _other_currency(rows: Rows) -> ColumnElement[bool]:
    return rows.fact.c.currency != rows.alert.c.currency


def _stale(rows: Rows) -> ColumnElement[bool]:
    return rows.fact.c.as_of < rows.at - STALE_AFTER


def _cooling_down(rows: Rows) -> ColumnElement[bool]:
    a = rows.alert.c
    return and_(a.repeat == Repeat.WHILE_TRUE, func.coalesce(a.quiet_until > rows.at, False))


def _not_rearmed(rows: Rows) -> ColumnElement[bool]:
    a, f = rows.alert.c, rows.fact.c
    return and_(a.repeat == Repeat.ON_CROSSING, not_(and_(a.armed, f.version > a.seen_version)))


def on_the_other_side(rows: Rows) -> ColumnElement[bool]:
    """The balance of a crossing is not beyond its threshold, whether that has fired by now or not."""
    a, f = rows.alert.c, rows.fact.c
    newer = and_(f.version > a.seen_version, f.currency == a.currency)
    return and_(a.repeat == Repeat.ON_CROSSING, newer, not_(KIND.condition(rows)))


def turned_false(rows: Rows) -> ColumnElement[bool]:
    """A crossing that fired has come back: the balance was seen on the other side since."""
    return and_(not_(rows.alert.c.armed), on_the_other_side(rows))


def key(rows: Rows) -> ColumnElement[str]:
    """`at:` and the instant: the cooldown or the crossing says what is a new occurrence."""
    return literal_column("'at:'").concat(instant_text(rows.at))


def context(rows: Rows) -> dict[str, ColumnElement[Any]]:
    """The balance and the threshold as they stood."""
    a, f = rows.alert.c, rows.fact.c
    return {
        "account_id": f.id,
        "account": f.name,
        "balance": money_text(f.balance),
        "threshold": money_text(a.amount),
        "currency": f.currency,
        "direction": a.direction,
        "as_of": instant_text(f.as_of),
    }


def quiet_until(rows: Rows) -> ColumnElement[Any]:
    """The end of the cooldown that a firing starts; a crossing has none."""
    a = rows.alert.c
    return case((a.repeat == Repeat.WHILE_TRUE, rows.at + a.cooldown))


def version(rows: Rows) -> ColumnElement[int]:
    """Which version of the account was seen."""
    seen: ColumnElement[int] = rows.fact.c.version
    return seen


def history(_: Mapping[str, Any]) -> History:
    """The account's balances."""
    return BALANCES


KIND = Kind(
    name=KindName.ACCOUNT_THRESHOLD,
    fact=accounts,
    clauses=clauses,
    context=context,
    history=history,
    key=key,
    reasons=(
        (Reason.CURRENCY, _other_currency),
        (Reason.STALE, _stale),
        (Reason.COOLDOWN, _cooling_down),
        (Reason.NOT_REARMED, _not_rearmed),
    ),
    is_swept=True,
    can_cease=True,
    may_rearm=on_the_other_side,
    rearms=turned_false,
    crossing_version=version,
    quiet_until=quiet_until,
    guarded_by_its_row=True,
)
