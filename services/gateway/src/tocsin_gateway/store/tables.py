"""Tables of the gateway (data model, "gateway")."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, LargeBinary, MetaData, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from tocsin_kit.postgres.outbox import outbox_table

metadata = MetaData()

callbacks = Table(
    "callbacks",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    # Path and query as they were called.
    Column("url", Text, nullable=False),
    Column("headers", JSONB, nullable=False),
    Column("body", LargeBinary, nullable=False),
    # Only verified callbacks are stored so far; the column says so for whoever reads the table alone.
    Column("verified", Boolean, nullable=False),
    # When it was last put into the outbox.
    Column("handed_on_at", DateTime(timezone=True), nullable=False),
    # How often it was handed on; names the message anew each time.
    Column("handed_on_times", BigInteger, nullable=False, server_default="1"),
    # When the dispatcher said that it has it; NULL until asked.
    Column("arrived_at", DateTime(timezone=True)),
    Index("callbacks_by_age", "received_at"),
    Index("callbacks_not_known_to_have_arrived", "handed_on_at", "id", postgresql_where=text("arrived_at IS NULL")),
)

outbox = outbox_table(metadata)
