"""PostgreSQL: the pool, transactions, outbox and relay, idempotency keys, migrations."""
