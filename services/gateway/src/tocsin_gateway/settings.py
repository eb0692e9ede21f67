"""What the environment may say to the gateway."""

from typing import Annotated

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from tocsin_gateway.callbacks.signatures import readable_key
from tocsin_kit.settings import Environment, Listed, Paired, Port, ServiceSettings
from tocsin_kit.signed_tokens import signing_keys

_DEV_UNSUBSCRIBE_KEY = "tocsin unsubscribe key for development only"


class GatewaySettings(ServiceSettings):
    """The gateway's settings, on top of those of every service."""

    grpc_port: Port = Field(50054, validation_alias="TOCSIN_GRPC_PORT", description="port of gRPC health; 0: any free")
    admin_port: Port = Field(9104, validation_alias="TOCSIN_ADMIN_PORT", description="port of health and metrics")
    port: Port = Field(3000, validation_alias="PORT", description="port of REST, live inbox and callbacks")
    public_url: str = Field(
        "http://127.0.0.1:3000",
        validation_alias="PUBLIC_URL",
        pattern=r"^https?://[^/?#]+(/[^?#]*)?$",
        description="how providers reach the gateway; Twilio signs it, so it must be exact",
    )
    evaluator_target: str = Field(
        "127.0.0.1:50052", validation_alias="TOCSIN_EVALUATOR_TARGET", description="host:port of the evaluator"
    )
    dispatcher_target: str = Field(
        "127.0.0.1:50053", validation_alias="TOCSIN_DISPATCHER_TARGET", description="host:port of the dispatcher"
    )
    scheduler_target: str = Field(
        "127.0.0.1:50051", validation_alias="TOCSIN_SCHEDULER_TARGET", description="host:port of the scheduler"
    )
    sendgrid_public_keys: Annotated[tuple[str, ...], Listed] = Field(
        (),
        validation_alias="SENDGRID_WEBHOOK_PUBLIC_KEY",
        description="verification key of SendGrid's event webhook; several by comma during a rotation, none: none is"
        " accepted",
    )
    twilio_auth_token: SecretStr = Field(
        SecretStr(""), validation_alias="TWILIO_AUTH_TOKEN", description="Twilio's auth token: signs its callbacks"
    )
    twilio_auth_token_second: SecretStr = Field(
        SecretStr(""),
        validation_alias="TOCSIN_TWILIO_AUTH_TOKEN_SECOND",
        description="the other auth token during a rotation",
    )
    unsubscribe_key: SecretStr = Field(
        SecretStr(_DEV_UNSUBSCRIBE_KEY),
        validation_alias="TOCSIN_UNSUBSCRIBE_KEY",
        validate_default=True,
        description="signs unsubscribe links, required in production; the dispatcher has it too; new,old to change it",
    )
    cors_origins: Annotated[tuple[str, ...], Listed] = Field(
        (),
        validation_alias="TOCSIN_CORS_ORIGINS",
        description="origins that browsers may call from, by comma; * is any",
    )
    calls_per_second: Annotated[float, Field(gt=0)] = Field(
        20.0, validation_alias="TOCSIN_CALLS_PER_SECOND", description="REST calls a caller may make, on average"
    )
    calls_at_once: Annotated[int, Field(ge=1)] = Field(
        100, validation_alias="TOCSIN_CALLS_AT_ONCE", description="REST calls a caller may make in a burst"
    )
    metrics_sources: Annotated[dict[str, Annotated[str, Field(pattern="^https?://.")]], Paired] = Field(
        {
            "scheduler": "http://127.0.0.1:9101/metrics",
            "evaluator": "http://127.0.0.1:9102/metrics",
            "dispatcher": "http://127.0.0.1:9103/metrics",
        },
        validation_alias="TOCSIN_METRICS_SOURCES",
        description="name=URL of the other services' metrics, by comma",
    )
    worker_concurrency: Annotated[int, Field(ge=1)] | None = Field(
        None, validation_alias="WORKER_CONCURRENCY", description="jobs side by side; default by class"
    )
    callbacks_kept_days: Annotated[int, Field(ge=1)] = Field(
        30, validation_alias="TOCSIN_CALLBACKS_KEPT_DAYS", description="days that raw callbacks are kept"
    )

    @field_validator("sendgrid_public_keys")
    @classmethod
    def _can_be_read(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for key in value:
            readable_key(key)
        return value

    @field_validator("unsubscribe_key")
    @classmethod
    def _signs_in_production(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        keys = signing_keys(value.get_secret_value()).values()
        if _DEV_UNSUBSCRIBE_KEY.encode() in keys and info.data.get("env") is Environment.PRODUCTION:
            raise ValueError("it is required: with a key that everybody knows anybody unsubscribes others")
        return value

    @property
    def twilio_auth_tokens(self) -> tuple[str, ...]:
        """Any of these may have signed Twilio's callbacks; empty: none is accepted."""
        tokens = (self.twilio_auth_token.get_secret_value(), self.twilio_auth_token_second.get_secret_value())
        return tuple(token for token in tokens if token)
