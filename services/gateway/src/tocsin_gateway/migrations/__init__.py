"""The evaluator's Alembic history."""
