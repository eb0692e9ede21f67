"""The gateway's own database: raw callbacks and the outbox. SQLAlchemy stops here."""
