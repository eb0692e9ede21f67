"""What the environment may say to any service. All wrong settings are reported at once, by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

Seconds = Annotated[float, Field(gt=0)]
Port = Annotated[int, Field(ge=0, le=65535)]


class Environment(StrEnum):
    """Where the process runs; conveniences that are unsafe in production exist in dev and test only."""

    DEV = "dev"
    TEST = "test"
    PRODUCTION = "production"


class ServiceSettings(BaseSettings):
    """The settings that every service has. A service's own class adds to them."""

    model_config = SettingsConfigDict(populate_by_name=True, extra="ignore", frozen=True, env_ignore_empty=True)

    env: Environment = Field(
        Environment.PRODUCTION, validation_alias="TOCSIN_ENV", description="dev, test or production"
    )
    database_url: SecretStr = Field(
        validation_alias="DATABASE_URL", description="PostgreSQL URL of this service's own database and role"
    )
    database_pool_min: int = Field(
        5, ge=0, validation_alias="DATABASE_POOL_MIN", description="connections opened at the start"
    )
    database_pool_max: int = Field(20, ge=1, validation_alias="DATABASE_POOL_MAX", description="connections at most")
    database_pool_timeout: Seconds = Field(
        10.0, validation_alias="DATABASE_POOL_TIMEOUT", description="seconds to wait for a free connection"
    )
    nats_url: str = Field("nats://127.0.0.1:4222", validation_alias="NATS_URL", description="NATS servers, by comma")
    log_level: str = Field("INFO", validation_alias="LOG_LEVEL", description="DEBUG, INFO, WARNING or ERROR")
    grpc_port: Port = Field(0, validation_alias="TOCSIN_GRPC_PORT", description="gRPC port; 0 takes a free one")
    admin_port: Port = Field(0, validation_alias="TOCSIN_ADMIN_PORT", description="port of health and metrics")
    host: str = Field("127.0.0.1", validation_alias="TOCSIN_HOST", description="address to listen on")
    jwt_secret: SecretStr | None = Field(
        None, validation_alias="TOCSIN_JWT_SECRET", description="HS256 key of user tokens; dev and test only"
    )
    jwks: str | None = Field(None, validation_alias="TOCSIN_JWKS", description="file or URL of the token keys (JWKS)")
    jwt_audience: str = Field("tocsin", validation_alias="TOCSIN_JWT_AUDIENCE", description="audience of user tokens")
    internal_key: SecretStr = Field(
        validation_alias="TOCSIN_INTERNAL_KEY", min_length=32, description="key our services sign tokens with"
    )
    log_hash_key: SecretStr = Field(
        SecretStr("tocsin"), validation_alias="TOCSIN_LOG_HASH_KEY", description="key of the users' hashes in logs"
    )
    otlp_endpoint: str | None = Field(
        None, validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT", description="where traces go (OTLP over gRPC)"
    )
    trace_ratio: float = Field(
        1.0, ge=0, le=1, validation_alias="OTEL_TRACES_SAMPLER_ARG", description="share of traces kept"
    )
    drain_seconds: float = Field(
        0.0, ge=0, validation_alias="TOCSIN_DRAIN_SECONDS", description="wait between not ready and stopping"
    )
    stop_seconds: Seconds = Field(
        20.0, validation_alias="TOCSIN_STOP_SECONDS", description="time to finish work before the process ends"
    )


Settings = TypeVar("Settings", bound=ServiceSettings)
Loaded = TypeVar("Loaded", bound=BaseSettings)


def environment_name(name: str, field: FieldInfo) -> str:
    """The variable that sets a field."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return alias if isinstance(alias, str) else name.upper()


def load(kind: type[Loaded]) -> Loaded:
    """The settings from the environment; exits with status 2 and a line per wrong setting."""
    try:
        return kind()
    except ValidationError as error:
        names = {name: environment_name(name, field) for name, field in kind.model_fields.items()}
        for wrong in error.errors():
            place = str(wrong["loc"][0]) if wrong["loc"] else kind.__name__
            print(f"{names.get(place, place)}: {wrong['msg']}", file=sys.stderr)
        raise SystemExit(2) from None


@dataclass(frozen=True)
class SettingLine:
    """One setting for people to read: its variable, value, default and meaning; secrets masked."""

    variable: str
    value: str
    default: str
    meaning: str
    is_default: bool


def described(kind: type[BaseSettings], values: BaseSettings | None) -> Iterator[SettingLine]:
    """Every setting of `kind` with its value in `values` (None: not loaded)."""
    for name, field in kind.model_fields.items():
        default = "required" if field.is_required() else str(field.default)
        value = default if values is None else str(getattr(values, name))
        unset = values is None or name not in values.model_fields_set
        yield SettingLine(environment_name(name, field), value, default, field.description or "", unset)
