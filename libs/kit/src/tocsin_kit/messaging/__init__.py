"""NATS JetStream as transport: topology, connection, publisher, consumer, jobs. Truth stays in PostgreSQL."""
