"""What the environment may say to the evaluator."""

from datetime import timedelta

from pydantic import Field

from tocsin_kit.settings import Port, ServiceSettings


class EvaluatorSettings(ServiceSettings):
    """The evaluator's own settings, beside those of every service."""

    grpc_port: Port = Field(50052, validation_alias="TOCSIN_GRPC_PORT", description="gRPC port; 0 takes a free one")
    admin_port: Port = Field(9102, validation_alias="TOCSIN_ADMIN_PORT", description="port of health and metrics")
    worker_concurrency: int | None = Field(
        None, ge=1, validation_alias="WORKER_CONCURRENCY", description="jobs side by side; default by class"
    )
    max_transaction_age: timedelta = Field(
        timedelta(days=5),
        ge=timedelta(0),
        validation_alias="TOCSIN_MAX_TRANSACTION_AGE",
        description="older transactions are history at their arrival and fire nothing",
    )
    keep_firings: timedelta = Field(
        timedelta(days=90), validation_alias="TOCSIN_KEEP_FIRINGS", description="how long firings are kept"
    )
    keep_transactions: timedelta = Field(
        timedelta(days=731), validation_alias="TOCSIN_KEEP_TRANSACTIONS", description="how long transactions are kept"
    )
    keep_ledger_minutes: timedelta = Field(
        timedelta(days=14),
        validation_alias="TOCSIN_KEEP_LEDGER_MINUTES",
        description="how long the ledger keeps minutes; then it keeps hours for a year",
    )
