"""How Alembic reaches this service's database."""

from tocsin_dispatcher.store.tables import metadata
from tocsin_kit.postgres.migrate import run_env

run_env(metadata)
