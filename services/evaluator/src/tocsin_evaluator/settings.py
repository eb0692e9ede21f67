"""What the environment may say to the evaluator."""

from datetime import timedelta

from pydantic import Field, SecretStr, field_validator

from tocsin_kit.sealing import keys_of
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
    secrets_keys: SecretStr | None = Field(
        None,
        validation_alias="TOCSIN_SECRETS_KEYS",
        description="encrypt copies of profile events, kept to be told again where the dispatcher has lost one: 32"
        " bytes in base64url (openssl rand -base64 32 | tr '+/' '-_'), or several by comma, the first one encrypts;"
        " without one no copies are kept",
    )
    keep_profile_copies: timedelta = Field(
        timedelta(days=7), validation_alias="TOCSIN_KEEP_PROFILE_COPIES", description="how long these are kept"
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

    @field_validator("secrets_keys")
    @classmethod
    def _are_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            keys_of(value.get_secret_value())
        return value

    @property
    def secret_keys(self) -> list[bytes]:
        """The keys that copies are sealed with, the first one seals."""
        return [] if self.secrets_keys is None else keys_of(self.secrets_keys.get_secret_value())
