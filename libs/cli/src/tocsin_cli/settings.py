"""What the environment may say to the `tocsin` command."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from tocsin_kit.settings import Environment, load

#: Where `tocsin up` leaves the settings of the stack it runs, so that commands beside it find it.
LOCAL_STACK = Path(".tocsin/env")


class CliSettings(BaseSettings):
    """Where the services are and what opens them. The environment wins over `.tocsin/env`."""

    model_config = SettingsConfigDict(
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        env_prefix="=",  # as in ServiceSettings
        env_file=LOCAL_STACK,
    )

    env: Environment = Field(Environment.PRODUCTION, validation_alias="TOCSIN_ENV", description="dev or production")
    evaluator_target: str = Field(
        "127.0.0.1:50052", validation_alias="TOCSIN_EVALUATOR_TARGET", description="host:port of the evaluator"
    )
    dispatcher_target: str = Field(
        "127.0.0.1:50053", validation_alias="TOCSIN_DISPATCHER_TARGET", description="host:port of the dispatcher"
    )
    scheduler_target: str = Field(
        "127.0.0.1:50051", validation_alias="TOCSIN_SCHEDULER_TARGET", description="host:port of the scheduler"
    )
    token: SecretStr | None = Field(
        None, validation_alias="TOCSIN_TOKEN", description="an operator's token; else TOCSIN_INTERNAL_KEY signs one"
    )
    internal_key: SecretStr | None = Field(
        None, validation_alias="TOCSIN_INTERNAL_KEY", description="key our services sign tokens with"
    )
    jwt_secret: SecretStr | None = Field(
        None, validation_alias="TOCSIN_JWT_SECRET", description="HS256 key of user tokens; dev only"
    )
    jwt_audience: str = Field("tocsin", validation_alias="TOCSIN_JWT_AUDIENCE", description="audience of user tokens")
    nats_url: str = Field("nats://127.0.0.1:4222", validation_alias="NATS_URL", description="NATS servers, by comma")
    stream_replicas: int = Field(
        1, ge=1, le=5, validation_alias="TOCSIN_STREAM_REPLICAS", description="copies of each stream; 3 on a cluster"
    )
    database_url: SecretStr | None = Field(
        None, validation_alias="DATABASE_URL", description="database to migrate, where one service is named"
    )
    evaluator_database_url: SecretStr | None = Field(
        None, validation_alias="TOCSIN_EVALUATOR_DATABASE_URL", description="database of the evaluator"
    )
    dispatcher_database_url: SecretStr | None = Field(
        None, validation_alias="TOCSIN_DISPATCHER_DATABASE_URL", description="database of the dispatcher"
    )
    scheduler_database_url: SecretStr | None = Field(
        None, validation_alias="TOCSIN_SCHEDULER_DATABASE_URL", description="database of the scheduler"
    )
    gateway_database_url: SecretStr | None = Field(
        None, validation_alias="TOCSIN_GATEWAY_DATABASE_URL", description="database of the gateway"
    )


def read_settings() -> CliSettings:
    """The settings; exits with status 2 and a line per wrong one."""
    return load(CliSettings)
