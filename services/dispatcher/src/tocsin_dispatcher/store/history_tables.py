"""The tables of what happened: to deliveries, addresses and letters that nobody could read, and of verifications."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    text,
)

_Instant = DateTime(timezone=True)


def delivery_events_table(metadata: MetaData) -> Table:
    """`delivery_events`: the gate's verdicts, merges and a person's retries. Attempts and receipts have tables of
    their own. They live as long as their delivery."""
    return Table(
        "delivery_events",
        metadata,
        Column("partner_id", BigInteger, primary_key=True),
        Column("delivery_id", Uuid, primary_key=True),
        Column("id", BigInteger, Identity(always=True), primary_key=True, comment="their order"),
        Column("at", _Instant, nullable=False),
        Column("happening", Text, nullable=False),
        Column("reason", Text),
        Column("until", _Instant, comment="of what is held or waits"),
        Column("joined_id", Uuid, comment="the delivery it was merged into"),
        ForeignKeyConstraint(
            ["partner_id", "delivery_id"], ["deliveries.partner_id", "deliveries.id"], ondelete="CASCADE"
        ),
    )


def verification_tables(metadata: MetaData) -> tuple[Table, Table]:
    """`verifications`, the last one of each person and channel, and `verification_counts`, how many on a day."""
    verifications = Table(
        "verifications",
        metadata,
        Column("partner_id", BigInteger, primary_key=True),
        Column("user_id", BigInteger, primary_key=True),
        Column("channel", Text, primary_key=True),
        Column("delivery_id", Uuid, nullable=False, comment="of the message that brings the code"),
        Column("address_hash", LargeBinary, nullable=False, comment="keyed, of what is verified"),
        Column("code_hash", LargeBinary, nullable=False, comment="keyed"),
        Column("sealed", LargeBinary, nullable=False, comment="the code, encrypted; empty once it was used"),
        Column("tries", Integer, nullable=False),
        Column("started_at", _Instant, nullable=False),
        Column("expires_at", _Instant, nullable=False),
        Column("confirmed_at", _Instant),
        CheckConstraint("channel IN ('email', 'sms')", name="verifications_channel"),
        Index("verifications_started", "started_at"),
    )
    counts = Table(
        "verification_counts",
        metadata,
        Column("partner_id", BigInteger, primary_key=True),
        Column("scope", Text, primary_key=True, comment="user, address, prefix or partner"),
        Column("subject", LargeBinary, primary_key=True, comment="a keyed hash of whose they are"),
        Column("day", Date, nullable=False, comment="the day, in UTC, that is counted"),
        Column("count", Integer, nullable=False),
        Index("verification_counts_old", "day"),
        postgresql_with={"fillfactor": 70},
    )
    return verifications, counts


def suppressions_table(metadata: MetaData) -> Table:
    """`suppressions`."""
    return Table(
        "suppressions",
        metadata,
        Column("partner_id", BigInteger, primary_key=True),
        Column("channel", Text, primary_key=True),
        Column("address_hash", LargeBinary, primary_key=True),
        Column("reason", Text, primary_key=True, comment="each stands for itself: START lifts STOP and no bounce"),
        Column("id", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
        Column("source", Text, nullable=False),
        Column("note", Text, comment="by who put it there by hand"),
        Column("at", _Instant, nullable=False),
        Column(
            "said_at",
            _Instant,
            comment="when it was last said; null: it was taken back before it was said, should that come late",
        ),
        Column("lifted_at", _Instant),
        Column("lifted_by", Text),
        Index("suppressions_by_id", "partner_id", "id", unique=True),
        Index("suppressions_of_partner", "partner_id", text("at DESC"), text("id DESC")),
        Index("suppressions_listed", text("at DESC"), text("id DESC")),
    )


def dead_letter_tables(metadata: MetaData) -> tuple[Table, Table]:
    """`dead_letters` and `dead_letter_retries`, which live as long as their letter."""
    letters = Table(
        "dead_letters",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("stream", Text, nullable=False),
        Column("subject", Text, nullable=False),
        Column("message_id", Text, nullable=False),
        Column("bytes", LargeBinary, nullable=False),
        Column("error", Text, nullable=False),
        Column("at", _Instant, nullable=False),
        Column("taken_in_at", _Instant),
        Index("dead_letters_at", "at"),
        Index("dead_letters_named", "message_id"),
        Index("dead_letters_waiting", "at", "id", postgresql_where=text("taken_in_at IS NULL")),
    )
    retries = Table(
        "dead_letter_retries",
        metadata,
        Column("letter_id", Uuid, primary_key=True),
        Column("id", Uuid, primary_key=True),
        Column("at", _Instant, nullable=False),
        Column("subject", Text, nullable=False, comment="who asked for it"),
        Column("error", Text, comment="null: it was taken in"),
        ForeignKeyConstraint(["letter_id"], ["dead_letters.id"], ondelete="CASCADE"),
    )
    return letters, retries
