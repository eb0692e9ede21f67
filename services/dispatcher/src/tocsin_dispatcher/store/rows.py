"""Rows as the values that travel outside of the store."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Row

from tocsin_dispatcher.reasons import Reason
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.values import (
    AlertKind,
    Channel,
    Delivery,
    GoalContext,
    Notification,
    Purpose,
    SealedCode,
    TemplateKind,
    Trial,
    WorkClass,
)
from tocsin_dispatcher.values.context_json import context_from_json

#: The columns of a delivery `d` that `delivery_of` reads.
DELIVERY_COLUMNS = """d.partner_id, d.id, d.purpose, d.notification_id, d.user_id, d.channel, d.destination_id,
       d.destination, d.class, d.status, d.reason, d.due_at, d.attempt, d.failures, d.expires_at, d.fact_key,
       d.created_at, d.provider, d.provider_id, d.token_taken, d.repeated_after_unknown, d.possible_duplicate,
       d.leased_until, d.segments, d.merged_into, d.traceparent, d.tracestate"""

#: The columns of its notification `n` that `notification_of` reads beside them.
NOTIFICATION_COLUMNS = """n.alert_id, n.kind, n.critical, n.daily_digest, n.metadata, n.fired_at, n.title, n.message,
       n.action_url, n.time_zone, n.locale"""


#: The columns of a template's trial `t` that `trial_of` reads beside them.
TRIAL_COLUMNS = "t.kind AS trial_kind, t.subject AS trial_subject, t.body AS trial_body, t.html AS trial_html"

#: The columns of a verification `v` that `verification_of` reads beside them.
CODE_COLUMNS = "v.sealed, v.expires_at AS code_expires_at"

_OF_NO_FIRING = GoalContext(0, "", 100, Decimal(0), Decimal(0), "USD")
"""Stands where there is no firing's context; no rule about time applies to it."""


def delivery_of(row: Row[Any], status: str | None = None, due_at: datetime | None = None) -> Delivery:
    """The delivery in a row with `DELIVERY_COLUMNS`; `status` and `due_at` stand for the row's where those were others
    before."""
    return Delivery(
        id=row.id,
        partner_id=row.partner_id,
        purpose=Purpose(row.purpose),
        notification_id=row.notification_id,
        user_id=row.user_id,
        channel=Channel(row.channel),
        destination_id=row.destination_id,
        destination=row.destination,
        work_class=WorkClass(getattr(row, "class")),
        status=DeliveryState(status or row.status),
        reason=None if row.reason is None else Reason(row.reason),
        due_at=due_at or row.due_at or row.created_at,
        attempt=row.attempt,
        failures=row.failures,
        expires_at=row.expires_at,
        fact_key=row.fact_key,
        created_at=row.created_at,
        provider=row.provider,
        provider_id=row.provider_id,
        token_taken=row.token_taken,
        repeated_after_unknown=row.repeated_after_unknown,
        segments=row.segments,
        merged_into=row.merged_into,
        traceparent=row.traceparent,
        tracestate=row.tracestate,
    )


def notification_of(row: Row[Any]) -> Notification:
    """The notification that the delivery in a row carries, from `NOTIFICATION_COLUMNS`."""
    kind = AlertKind(row.kind)
    return Notification(
        id=row.notification_id,
        partner_id=row.partner_id,
        user_id=row.user_id,
        alert_id=row.alert_id,
        kind=kind,
        work_class=WorkClass(getattr(row, "class")),
        critical=row.critical,
        daily_digest=row.daily_digest,
        context=context_from_json(kind, row.metadata),
        fired_at=row.fired_at,
        title=row.title,
        message=row.message,
        action_url=row.action_url,
        time_zone=row.time_zone,
        locale=row.locale,
    )


def told_by(row: Row[Any]) -> Notification:
    """What the delivery in a row brings: a notification, or, where nothing has happened, a trial or a code. A digest
    brings what its members do, which are read apart."""
    if row.notification_id is not None:
        return notification_of(row)
    if row.purpose == Purpose.DIGEST:
        return _of_no_firing(row)
    return verification_of(row) if row.purpose == Purpose.VERIFICATION else trial_of(row)


def trial_of(row: Row[Any]) -> Notification:
    """The trial that the delivery in a row brings, from `TRIAL_COLUMNS`: it tells nothing that has happened."""
    trial = Trial(TemplateKind(row.trial_kind), row.trial_subject, row.trial_body, row.trial_html)
    return replace(_of_no_firing(row), trial=trial)


def verification_of(row: Row[Any]) -> Notification:
    """The code that the delivery in a row brings, from `CODE_COLUMNS`; a person waits for it."""
    code = SealedCode(row.id, row.sealed or b"", row.code_expires_at or row.expires_at)
    return replace(_of_no_firing(row), critical=True, code=code)


def _of_no_firing(row: Row[Any]) -> Notification:
    return Notification(
        id=row.id,
        partner_id=row.partner_id,
        user_id=row.user_id,
        alert_id=0,
        kind=_OF_NO_FIRING.kind,
        work_class=WorkClass(getattr(row, "class")),
        critical=False,
        daily_digest=False,
        context=_OF_NO_FIRING,
        fired_at=row.created_at,
        title="",
        message="",
        action_url="",
    )
