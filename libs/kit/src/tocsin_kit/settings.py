"""What the environment may say to any service. All wrong settings are reported at once, by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

Seconds = Annotated[float, Field(gt=0)]
#: Keys the users' hashes in the logs of a laptop.
DEV_LOG_HASH_KEY = "tocsin"
Port = Annotated[int, Field(ge=0, le=65535)]


def _parts(value: object) -> object:
    """What text lists; anything else as it is."""
    return [part for one in value.split(",") if (part := one.strip())] if isinstance(value, str) else value


def _pairs(value: object) -> object:
    """What text pairs up; anything else as it is."""
    if not isinstance(value, str):
        return value
    pairs = [one.partition("=") for one in value.split(",") if one.strip()]
    if not all(name.strip() and equals for name, equals, _ in pairs):
        raise ValueError("want name=value, several by comma")
    named = {name.strip(): said.strip() for name, _, said in pairs}
    if len(named) < len(pairs):
        raise ValueError("it has a name more than once")
    return named


#: For a setting that is a list: as text its parts by comma, `sendgrid,smtp`.
Listed = BeforeValidator(_parts)
#: For a setting that is a mapping: as text its pairs by comma, `sendgrid=600,twilio=60`.
Paired = BeforeValidator(_pairs)


class Environment(StrEnum):
    """Where the process runs; conveniences that are unsafe in production exist in dev only."""

    DEV = "dev"
    PRODUCTION = "production"


class ServiceSettings(BaseSettings):
    """The settings that every service has. A service's own class adds to them: lists `Listed`, mappings `Paired`."""

    model_config = SettingsConfigDict(
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        # Before the names of fields, which are for Python: no variable's name has one. Variables are named by aliases,
        # and an ENV or a SMTP_HOST is somebody else's.
        env_prefix="=",
        # Else lists are read as JSON, and one that is none ends the reading: the other wrong ones are not heard of.
        enable_decoding=False,
    )

    env: Environment = Field(Environment.PRODUCTION, validation_alias="TOCSIN_ENV", description="dev or production")
    database_url: SecretStr = Field(
        validation_alias="DATABASE_URL", description="PostgreSQL URL of this service's own database and role"
    )
    database_pool_min: int = Field(
        5, ge=0, validation_alias="DATABASE_POOL_MIN", description="connections opened at the start"
    )
    database_pool_max: int = Field(
        20, ge=1, validation_alias="DATABASE_POOL_MAX", description="connections of a pool at most"
    )
    database_pool_timeout: Seconds = Field(
        10.0, validation_alias="DATABASE_POOL_TIMEOUT", description="seconds to wait for a free connection"
    )
    nats_url: str = Field(
        "nats://127.0.0.1:4222",
        validation_alias="NATS_URL",
        description="NATS servers, by comma; max_payload 4MB at least",
    )
    log_level: str = Field(
        "INFO",
        validation_alias="LOG_LEVEL",
        pattern="^(?i:debug|info|warning|error)$",
        description="DEBUG, INFO, WARNING or ERROR",
    )
    grpc_port: Port = Field(0, validation_alias="TOCSIN_GRPC_PORT", description="gRPC port; 0 takes a free one")
    admin_port: Port = Field(0, validation_alias="TOCSIN_ADMIN_PORT", description="port of health and metrics")
    host: str = Field("127.0.0.1", validation_alias="TOCSIN_HOST", description="address to listen on")
    jwt_secret: SecretStr | None = Field(
        None, validation_alias="TOCSIN_JWT_SECRET", description="HS256 key of user tokens; dev only"
    )
    jwks: str | None = Field(
        None,
        validation_alias="TOCSIN_JWKS",
        validate_default=True,
        description="file or URL of the token keys (JWKS); required in production",
    )
    jwt_audience: str = Field("tocsin", validation_alias="TOCSIN_JWT_AUDIENCE", description="audience of user tokens")
    internal_key: SecretStr = Field(
        validation_alias="TOCSIN_INTERNAL_KEY", min_length=32, description="key our services sign tokens with"
    )
    log_hash_key: SecretStr = Field(
        SecretStr(DEV_LOG_HASH_KEY),
        validation_alias="TOCSIN_LOG_HASH_KEY",
        validate_default=True,
        description="key of the users' hashes in logs; required in production",
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

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr) -> SecretStr:
        try:
            url = make_url(value.get_secret_value())
        except ArgumentError:
            raise ValueError("it is no URL: want postgresql://role:password@host/database") from None
        if not url.drivername.startswith("postgresql"):
            raise ValueError("it names no PostgreSQL: want postgresql://role:password@host/database")
        return value

    @field_validator("database_pool_max")
    @classmethod
    def _holds_the_least(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("database_pool_min", 0):
            raise ValueError("it is less than DATABASE_POOL_MIN")
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _is_for_dev(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None and info.data.get("env") is Environment.PRODUCTION:
            raise ValueError("it is for TOCSIN_ENV=dev only; configure TOCSIN_JWKS")
        return value

    @field_validator("jwks")
    @classmethod
    def _are_known_in_production(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("env") is Environment.PRODUCTION:
            raise ValueError("it is required, or nobody's token can be verified (in dev: TOCSIN_JWT_SECRET)")
        return value

    @field_validator("log_hash_key")
    @classmethod
    def _is_secret_in_production(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if value.get_secret_value() == DEV_LOG_HASH_KEY and info.data.get("env") is Environment.PRODUCTION:
            raise ValueError("it is required: with a key that everybody knows a hash names its user")
        return value


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
        for line in complaints(kind, error):
            print(line, file=sys.stderr)
        raise SystemExit(2) from None


def complaints(kind: type[BaseSettings], error: ValidationError) -> list[str]:
    """A line per wrong setting, by the name of its variable, without its value."""
    names = {name: environment_name(name, field) for name, field in kind.model_fields.items()}
    first: dict[str, str] = {}
    for wrong in error.errors():
        place = str(wrong["loc"][0])
        first.setdefault(names.get(place, place), wrong["msg"].removeprefix("Value error, "))
    return [f"{variable}: {message}" for variable, message in first.items()]


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
        default = "required" if field.is_required() else _as_typed(field.default)
        value = default if values is None else _as_typed(getattr(values, name))
        unset = values is None or name not in values.model_fields_set
        yield SettingLine(environment_name(name, field), value, default, field.description or "", unset)


def _as_typed(value: object) -> str:
    """As it is said in the environment."""
    match value:
        case tuple():
            return ",".join(map(str, value))
        case Mapping():
            return ",".join(f"{name}={said}" for name, said in value.items())
        case _:
            return str(value)
