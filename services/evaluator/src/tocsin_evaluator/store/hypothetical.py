"""Alerts as they might be: the columns of one that is not saved, or of a saved one made new again."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.model.alerts import Wish
from tocsin_evaluator.store.columns import columns_of
from tocsin_evaluator.store.tables import alerts

#: The state of an alert that was just created.
_NEW: Mapping[str, object] = {
    "condition_version": 1,
    "active": True,
    "armed": True,
    "seen_version": 0,
    "quiet_until": None,
    "snoozed_until": None,
    "evaluate_after_edit": None,
}


def of_wish(partner_id: int, user_id: int, wish: Wish) -> dict[str, Any]:
    """The columns of a new alert that nobody saves."""
    values: dict[str, Any] = {
        "partner_id": partner_id,
        "user_id": user_id,
        "id": 0,
        "kind": wish.kind.value,
        "name": wish.name,
        "cooldown": wish.cooldown,
    }
    return {**values, **columns_of(wish.condition), **_NEW}


async def of_stored(connection: AsyncConnection, partner_id: int, user_id: int, alert_id: int) -> dict[str, Any] | None:
    """The columns of one of the user's alerts as though it were new, by primary key; None where they have none."""
    mine = (alerts.c.partner_id == partner_id, alerts.c.user_id == user_id, alerts.c.deleted_at.is_(None))
    row = (await connection.execute(select(alerts).where(*mine, alerts.c.id == alert_id))).one_or_none()
    return None if row is None else {**row._mapping, **_NEW}
