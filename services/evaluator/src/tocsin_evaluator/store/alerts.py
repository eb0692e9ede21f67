"""Alerts as rows. Every statement about a user's alert names the partner and the user: another's does not exist."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.model.alerts import Wish
from tocsin_evaluator.model.words import AfterEdit, Channel, KindName
from tocsin_evaluator.store.columns import columns_of, condition_of
from tocsin_evaluator.store.tables import LIVE, alerts
from tocsin_evaluator.store.upserts import key_arrays


@dataclass(frozen=True)
class StoredAlert:
    """An alert's row; how often it was evaluated is asked separately (`history`)."""

    partner_id: int
    id: int
    user_id: int
    wish: Wish
    condition_version: int
    last_triggered_at: datetime | None
    trigger_count: int
    sweeps_before: int
    fact_version_before: int
    created_at: datetime
    updated_at: datetime

    @property
    def key(self) -> tuple[int, int]:
        """(partner, id)."""
        return self.partner_id, self.id


def _alert(row: Row[Any]) -> StoredAlert:
    return StoredAlert(
        partner_id=row.partner_id,
        id=row.id,
        user_id=row.user_id,
        wish=Wish(
            name=row.name,
            condition=condition_of(row),
            active=row.active,
            channels=frozenset(Channel(each) for each in row.channels),
            critical=row.critical,
            cooldown=row.cooldown,
            snoozed_until=row.snoozed_until,
        ),
        condition_version=row.condition_version,
        last_triggered_at=row.last_triggered_at,
        trigger_count=row.trigger_count,
        sweeps_before=row.sweeps_before,
        fact_version_before=row.fact_version_before,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _mine(partner_id: int, user_id: int) -> ColumnElement[bool]:
    return and_(alerts.c.partner_id == partner_id, alerts.c.user_id == user_id, alerts.c.deleted_at.is_(None))


def _values(wish: Wish) -> dict[str, object]:
    return {
        "kind": wish.kind.value,
        "name": wish.name,
        **columns_of(wish.condition),
        "channels": sorted(channel.value for channel in wish.channels),
        "critical": wish.critical,
        "cooldown": wish.cooldown,
        "active": wish.active,
        "snoozed_until": wish.snoozed_until,
    }


async def create(connection: AsyncConnection, partner_id: int, user_id: int, wish: Wish, at: datetime) -> int:
    """Write a new alert, armed, and that it is to be evaluated; answers its id."""
    values = _values(wish)
    before = await _counts_before(connection, partner_id, user_id, wish.kind, values.get("subject_id"))
    statement = insert(alerts).values(
        partner_id=partner_id,
        user_id=user_id,
        **values,
        condition_version=1,
        condition_changed_at=at,
        armed=True,
        seen_version=0,
        trigger_count=0,
        sweeps_before=before[0],
        fact_version_before=before[1],
        evaluate_after_edit=AfterEdit.SILENTLY,
        created_at=at,
        updated_at=at,
    )
    return int((await connection.execute(statement.returning(alerts.c.id))).scalar_one())


# sweeps_by_number, and the facts' primary keys.
_COUNTS = text("""
SELECT
  coalesce((SELECT number FROM sweeps s
            WHERE s.kind = k.kind AND s.number IS NOT NULL ORDER BY s.number DESC LIMIT 1), 0),
  coalesce(CASE k.kind
    WHEN 'account_threshold' THEN (SELECT f.version FROM accounts f
      WHERE f.partner_id = k.partner_id AND f.id = k.subject_id AND f.user_id = k.user_id)
    WHEN 'goal' THEN (SELECT f.version FROM goals f
      WHERE f.partner_id = k.partner_id AND f.id = k.subject_id AND f.user_id = k.user_id)
    WHEN 'spending_target' THEN (SELECT f.version FROM budgets f
      WHERE f.partner_id = k.partner_id AND f.id = k.subject_id AND f.user_id = k.user_id)
    WHEN 'upcoming_bill' THEN (SELECT f.version FROM bills f
      WHERE f.partner_id = k.partner_id AND f.id = k.subject_id AND f.user_id = k.user_id)
  END, 0)
FROM (SELECT CAST(:kind AS text) AS kind, CAST(:partner_id AS bigint) AS partner_id,
             CAST(:subject_id AS bigint) AS subject_id, CAST(:user_id AS bigint) AS user_id) AS k
""")


async def _counts_before(
    connection: AsyncConnection, partner_id: int, user_id: int, kind: KindName, subject_id: object
) -> tuple[int, int]:
    parameters = {"kind": kind.value, "partner_id": partner_id, "user_id": user_id, "subject_id": subject_id}
    sweeps, version = (await connection.execute(_COUNTS, parameters)).one()
    return int(sweeps), int(version)


async def get(
    connection: AsyncConnection, partner_id: int, user_id: int, alert_id: int, *, for_change: bool = False
) -> StoredAlert | None:
    """One of the user's alerts, by primary key; None where it is not theirs, or deleted."""
    statement = select(alerts).where(_mine(partner_id, user_id), alerts.c.id == alert_id)
    if for_change:
        statement = statement.with_for_update(key_share=True)
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else _alert(row)


async def page(
    connection: AsyncConnection,
    partner_id: int,
    user_id: int,
    *,
    kind: KindName | None,
    active: bool | None,
    before: int | None,
    size: int,
) -> list[StoredAlert]:
    """The user's alerts with ids below `before`, newest first. alerts_of_user."""
    statement = select(alerts).where(_mine(partner_id, user_id))
    if kind is not None:
        statement = statement.where(alerts.c.kind == kind.value)
    if active is not None:
        statement = statement.where(alerts.c.active == active)
    if before is not None:
        statement = statement.where(alerts.c.id < before)
    return [_alert(row) for row in await connection.execute(statement.order_by(alerts.c.id.desc()).limit(size))]


@dataclass(frozen=True)
class Change:
    """What an edit does beside writing the wish: a new condition starts fresh; events count from `heard_from` on."""

    wish: Wish
    condition_is_new: bool
    heard_from: datetime | None


async def change(connection: AsyncConnection, alert: StoredAlert, change: Change, at: datetime) -> None:
    """Write an edit of an alert that is locked, and that it is to be evaluated."""
    values: dict[str, object] = {**_values(change.wish), "updated_at": at}
    how = AfterEdit.ALOUD if change.heard_from is None else AfterEdit.SILENTLY
    values["evaluate_after_edit"] = func.greatest(alerts.c.evaluate_after_edit, how)
    if change.heard_from is not None:
        values["condition_changed_at"] = change.heard_from
        values["seen_version"] = 0  # while it was off, its account may have been deleted and have come again
    if change.condition_is_new:
        values |= {"armed": True, "seen_version": 0, "quiet_until": None}
        values["condition_version"] = alerts.c.condition_version + 1
    await connection.execute(update(alerts).where(_by_key(alert.partner_id, alert.id)).values(**values))


async def delete(connection: AsyncConnection, partner_id: int, user_id: int, alert_id: int, at: datetime) -> bool:
    """Delete softly; False where the user has no such alert."""
    statement = update(alerts).where(_mine(partner_id, user_id), alerts.c.id == alert_id)
    gone = statement.values(deleted_at=at, updated_at=at, evaluate_after_edit=None)
    return (await connection.execute(gone)).rowcount == 1


async def left_to_evaluate(connection: AsyncConnection, before: datetime, n: int) -> list[tuple[int, int, str]]:
    """At most `n` alerts edited before an instant and not evaluated since: partner, id, kind. alerts_to_evaluate."""
    found = await connection.execute(TO_EVALUATE, {"before": before, "n": n})
    return [(partner, id_, kind) for partner, id_, kind in found]


TO_EVALUATE = text("""
SELECT partner_id, id, kind FROM alerts
WHERE evaluate_after_edit IS NOT NULL AND updated_at < :before ORDER BY updated_at LIMIT :n
""")


def _by_key(partner_id: int, alert_id: int) -> ColumnElement[bool]:
    return and_(alerts.c.partner_id == partner_id, alerts.c.id == alert_id)


# alerts_by_subject, then the primary key: locked in order, after the facts.
_FORGET_VERSIONS = text("""
WITH mine AS (
  SELECT a.partner_id, a.id
  FROM unnest(CAST(:partner_ids AS bigint[]), CAST(:ids AS bigint[])) AS gone(partner_id, id)
  JOIN alerts a ON a.partner_id = gone.partner_id AND a.kind = 'account_threshold' AND a.subject_id = gone.id
  WHERE a.active AND a.deleted_at IS NULL AND a.seen_version > 0
  ORDER BY a.partner_id, a.id FOR NO KEY UPDATE OF a
)
UPDATE alerts SET seen_version = 0 FROM mine WHERE alerts.partner_id = mine.partner_id AND alerts.id = mine.id
""")


async def forget_versions(connection: AsyncConnection, accounts: Iterable[tuple[int, int]]) -> None:
    """Forget which versions of deleted accounts were seen: one that comes again begins at the first."""
    await connection.execute(_FORGET_VERSIONS, key_arrays(accounts))


# By primary key; the lock of `people.one_at_a_time`, which comes before an alert's own in every transaction.
_WAIT_FOR_FACTS = text("""
SELECT pg_advisory_xact_lock(hashint8extended(user_id, partner_id)) FROM alerts
WHERE partner_id = :partner_id AND id = :alert_id
""")


async def wait_for_facts(connection: AsyncConnection, partner_id: int, alert_id: int) -> None:
    """Wait for purchases and bills of the alert's user that are on their way in and may not have seen it; keep others
    out. What a sweep looks at is found by the next one."""
    await connection.execute(_WAIT_FOR_FACTS, {"partner_id": partner_id, "alert_id": alert_id})


async def lock_to_evaluate(connection: AsyncConnection, partner_id: int, alert_id: int) -> bool:
    """Lock an alert, by primary key; False where its last edit has been evaluated, or it is gone."""
    statement = select(alerts.c.id).where(_by_key(partner_id, alert_id), alerts.c.evaluate_after_edit.is_not(None))
    return (await connection.execute(statement.with_for_update(key_share=True))).first() is not None


async def note_evaluated(connection: AsyncConnection, partner_id: int, alert_id: int) -> None:
    """Note that an alert's last edit is evaluated, by primary key."""
    statement = update(alerts).where(_by_key(partner_id, alert_id))
    await connection.execute(statement.values(evaluate_after_edit=None))


async def live_in_zone(connection: AsyncConnection, kind: KindName, zone: str) -> int:
    """How many live alerts of a kind people in a zone have. alerts_by_user."""
    return int(await connection.scalar(_LIVE_IN_ZONE, {"kind": kind.value, "zone": zone}) or 0)


_LIVE_IN_ZONE = text(f"""
SELECT count(*) FROM alerts a LEFT JOIN people p ON p.partner_id = a.partner_id AND p.user_id = a.user_id
WHERE a.kind = :kind AND {LIVE} AND coalesce(p.time_zone, 'UTC') = :zone
""")  # noqa: S608 a constant of ours
