"""How Alembic reaches this service's database."""

from tocsin_kit.postgres.migrate import run_env

from tocsin_evaluator.store.tables import metadata

run_env(metadata)
