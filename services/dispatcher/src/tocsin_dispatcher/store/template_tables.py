"""The tables of the banks' templates."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

_Instant = DateTime(timezone=True)
_CHANNELS = "channel IN ('email', 'sms', 'in_app', 'push')"


def template_tables(metadata: MetaData) -> tuple[Table, Table, Table]:
    """`templates`, `template_partners` and `template_trials`."""
    templates = Table(
        "templates",
        metadata,
        Column("partner_id", BigInteger, primary_key=True),
        Column("id", Uuid, primary_key=True),
        Column("kind", Text, nullable=False),
        Column("channel", Text, nullable=False),
        Column("locale", Text, comment="BCP 47; null: for every locale that the bank has none for"),
        Column("version", Integer, nullable=False, comment="counts from 1 within kind, channel and locale"),
        Column("name", Text, nullable=False),
        Column("subject", Text, nullable=False, comment="empty: the channel has none, or the built-in one is used"),
        Column("body", Text, nullable=False, comment="plain text"),
        Column("html", Text, nullable=False, comment="of e-mail only"),
        Column("variables", ARRAY(Text), nullable=False, comment="those its sources use"),
        Column("active", Boolean, nullable=False, server_default=text("false")),
        Column(
            "replaced",
            ARRAY(Uuid),
            nullable=False,
            server_default=text("'{}'"),
            comment="the versions that were active before this one, the last one last",
        ),
        Column("activated_at", _Instant),
        Column("created_at", _Instant, nullable=False),
        Column("created_by", Text, nullable=False, comment="the token's subject"),
        Column("failures", BigInteger, nullable=False, server_default=text("0"), comment="at send time"),
        Column("last_failed_at", _Instant),
        Column("last_failure", Text, comment="the part, the line and why; never a value"),
        CheckConstraint(_CHANNELS, name="templates_channel"),
        Index(
            "templates_versions",
            "partner_id",
            "kind",
            "channel",
            "locale",
            "version",
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
        Index(
            "templates_active",
            "partner_id",
            "kind",
            "channel",
            "locale",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("active"),
        ),
        Index("templates_listed", "partner_id", text("created_at DESC"), text("id DESC")),
    )
    template_partners = Table(
        "template_partners",
        metadata,
        Column("partner_id", BigInteger, primary_key=True),
        Column("revision", BigInteger, nullable=False, comment="rises when another version becomes active"),
        Column("trials_on", Date, comment="the day, in UTC, whose trials are counted"),
        Column("trials", Integer, nullable=False, server_default=text("0")),
    )
    template_trials = Table(
        "template_trials",
        metadata,
        Column("partner_id", BigInteger, primary_key=True),
        Column("delivery_id", Uuid, primary_key=True),
        Column("template_id", Uuid, nullable=False),
        Column("kind", Text, nullable=False),
        Column("subject", Text, nullable=False, comment="as rendered when it was asked for"),
        Column("body", Text, nullable=False),
        Column("html", Text, nullable=False),
        ForeignKeyConstraint(
            ["partner_id", "delivery_id"], ["deliveries.partner_id", "deliveries.id"], ondelete="CASCADE"
        ),
    )
    return templates, template_partners, template_trials
