"""The tables of push subscriptions and webhook endpoints."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY

_Instant = DateTime(timezone=True)


def destination_tables(metadata: MetaData) -> tuple[Table, Table, Table]:
    """`push_subscriptions`, `webhook_endpoints` and `webhook_secrets`."""
    push_subscriptions = Table(
        "push_subscriptions",
        metadata,
        Column("partner_id", BigInteger, primary_key=True),
        Column("id", Uuid, primary_key=True),
        Column("user_id", BigInteger, nullable=False),
        Column("name", Text, nullable=False),
        Column("service", Text, nullable=False, comment="the push service's host"),
        Column("endpoint_hash", LargeBinary, nullable=False, comment="keyed: who knows the URL may send"),
        Column("sealed", LargeBinary, nullable=False, comment="the URL and the browser's keys, encrypted"),
        Column("created_at", _Instant, nullable=False),
        Column("tested_at", _Instant),
        Index("push_subscriptions_once", "partner_id", "endpoint_hash", unique=True),
        Index("push_subscriptions_of_user", "partner_id", "user_id", "created_at", "id"),
    )
    webhook_endpoints = Table(
        "webhook_endpoints",
        metadata,
        Column("partner_id", BigInteger, primary_key=True),
        Column("id", Uuid, primary_key=True),
        Column("user_id", BigInteger, comment="null: the partner's own"),
        Column("url", Text, nullable=False),
        Column("shown", Text, nullable=False, comment="the URL without path and query"),
        Column("name", Text, nullable=False),
        Column("kinds", ARRAY(Text), nullable=False, comment="empty: every kind"),
        Column("disabled_at", _Instant, comment="when it answered 410"),
        Column("created_at", _Instant, nullable=False),
        Column("tested_at", _Instant),
        Index("webhook_endpoints_of_user", "partner_id", "user_id", "created_at", "id"),
    )
    webhook_secrets = Table(
        "webhook_secrets",
        metadata,
        Column("partner_id", BigInteger, primary_key=True),
        Column("endpoint_id", Uuid, primary_key=True),
        Column("id", Uuid, primary_key=True),
        Column("sealed", LargeBinary, nullable=False, comment="the secret, encrypted"),
        Column("created_at", _Instant, nullable=False),
        Column("valid_until", _Instant, comment="null: the newest one"),
        ForeignKeyConstraint(
            ["partner_id", "endpoint_id"], ["webhook_endpoints.partner_id", "webhook_endpoints.id"], ondelete="CASCADE"
        ),
    )
    return push_subscriptions, webhook_endpoints, webhook_secrets
