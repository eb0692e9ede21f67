"""What the environment may say to the dispatcher."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import Field, SecretStr, StringConstraints, ValidationInfo, field_validator

from tocsin_dispatcher.providers.vapid import private_key
from tocsin_kit.sealing import bytes_of, keys_of
from tocsin_kit.settings import Environment, Listed, Paired, Port, Seconds, ServiceSettings
from tocsin_kit.signed_tokens import signing_keys

_LOCAL = r"127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}:[0-9]{1,5}"
_DEV_UNSUBSCRIBE_KEY = "tocsin unsubscribe key for development only"
_TO_RECORD = 5.0
"""Seconds from the end of a call until its outcome is surely written."""


class DispatcherSettings(ServiceSettings):
    """The dispatcher's own settings, beside those of every service."""

    grpc_port: Port = Field(50053, validation_alias="TOCSIN_GRPC_PORT", description="gRPC port; 0 takes a free one")
    admin_port: Port = Field(9103, validation_alias="TOCSIN_ADMIN_PORT", description="port of health and metrics")
    evaluator_target: str = Field(
        "127.0.0.1:50052", validation_alias="TOCSIN_EVALUATOR_TARGET", description="the evaluator's gRPC address"
    )
    public_url: str = Field(
        "http://localhost:3000",
        validation_alias="PUBLIC_URL",
        description="where providers and links reach the gateway",
    )
    frontend_url: str = Field(
        "http://localhost:3000", validation_alias="FRONTEND_URL", description="the bank's app, where messages lead"
    )
    sendgrid_api_key: SecretStr | None = Field(
        None, validation_alias="SENDGRID_API_KEY", description="without one e-mail goes to the local mailbox"
    )
    sendgrid_from_email: str = Field(
        "alerts@tocsin.example", validation_alias="SENDGRID_FROM_EMAIL", description="sender of e-mail"
    )
    sendgrid_from_name: str = Field("Tocsin", validation_alias="SENDGRID_FROM_NAME", description="the sender's name")
    sendgrid_base_url: str = Field(
        "https://api.sendgrid.com", validation_alias="SENDGRID_BASE_URL", description="SendGrid's API"
    )
    twilio_account_sid: str | None = Field(
        None, validation_alias="TWILIO_ACCOUNT_SID", description="without one SMS go to the local mailbox"
    )
    twilio_auth_token: SecretStr | None = Field(
        None, validation_alias="TWILIO_AUTH_TOKEN", description="the account's token"
    )
    twilio_from_number: str = Field("", validation_alias="TWILIO_FROM_NUMBER", description="sender of SMS, E.164")
    twilio_messaging_service_sid: str = Field(
        "", validation_alias="TWILIO_MESSAGING_SERVICE_SID", description="sends instead of a number where set"
    )
    twilio_base_url: str = Field(
        "https://api.twilio.com", validation_alias="TWILIO_BASE_URL", description="Twilio's API"
    )
    smtp_host: str = Field(
        "", validation_alias="TOCSIN_SMTP_HOST", description="server that takes e-mail; without one none goes by SMTP"
    )
    smtp_port: Port = Field(587, validation_alias="TOCSIN_SMTP_PORT", description="its port; 465 is usual for tls")
    smtp_username: str = Field(
        "", validation_alias="TOCSIN_SMTP_USERNAME", description="log-in; empty where there is none"
    )
    smtp_password: SecretStr = Field(SecretStr(""), validation_alias="TOCSIN_SMTP_PASSWORD", description="the log-in's")
    smtp_security: Literal["none", "starttls", "tls"] = Field(
        "starttls",
        validation_alias="TOCSIN_SMTP_TLS",
        validate_default=True,
        description="starttls, tls (from the first byte) or none; with none there is no log-in but in dev",
    )
    smtp_connections: int = Field(
        10, ge=1, validation_alias="TOCSIN_SMTP_CONNECTIONS", description="connections to it at once, per process"
    )
    email_chain: Annotated[tuple[Literal["sendgrid", "smtp", "mailbox"], ...], Listed] = Field(
        ("sendgrid", "smtp"),
        min_length=1,
        validation_alias="TOCSIN_EMAIL_PROVIDERS",
        description="providers of e-mail in order, by comma; those without credentials are left out",
    )
    provider_seconds: Seconds = Field(
        10.0, validation_alias="TOCSIN_PROVIDER_SECONDS", description="time limit of a provider's call"
    )
    provider_paces: Annotated[dict[Literal["sendgrid", "smtp", "twilio"], Annotated[int, Field(ge=1)]], Paired] = Field(
        {},
        validation_alias="TOCSIN_PROVIDER_PACES",
        description="calls a minute and process, by provider, as sendgrid=600,twilio=60; those not named have no pace",
    )
    unsubscribe_key: SecretStr = Field(
        SecretStr(_DEV_UNSUBSCRIBE_KEY),
        validation_alias="TOCSIN_UNSUBSCRIBE_KEY",
        validate_default=True,
        description="signs unsubscribe links, required in production; the gateway has the same; new,old to change it",
    )
    address_key: SecretStr | None = Field(
        None, validation_alias="TOCSIN_ADDRESS_KEY", description="keys the suppression list; default the internal key"
    )
    secrets_keys: SecretStr | None = Field(
        None,
        validation_alias="TOCSIN_SECRETS_KEYS",
        description="encrypt secrets in the database: 32 bytes in base64url (openssl rand -base64 32 | tr '+/' '-_'),"
        " several by comma, the first one encrypts; without one there are no webhooks and no push",
    )
    vapid_key: SecretStr | None = Field(
        None,
        validation_alias="TOCSIN_VAPID_KEY",
        description="private key of Web Push, made as TOCSIN_SECRETS_KEYS; without one there is no push. With another"
        " key every browser has to subscribe again",
    )
    vapid_subject: str = Field(
        "mailto:alerts@tocsin.example",
        validation_alias="TOCSIN_VAPID_SUBJECT",
        pattern="^(mailto:|https://).+",
        description="where push services find us, mailto: or https:",
    )
    push_services: Annotated[tuple[Annotated[str, StringConstraints(to_lower=True)], ...], Listed] = Field(
        (),
        validation_alias="TOCSIN_PUSH_SERVICES",
        description="hosts of push services beside those of the known browsers, by comma; names below them too",
    )
    local_endpoints: Annotated[tuple[Annotated[str, Field(pattern=f"^{_LOCAL}$")], ...], Listed] = Field(
        (),
        validation_alias="TOCSIN_LOCAL_ENDPOINTS",
        description="in dev: addresses of this machine that webhooks and push may call, by comma, as 127.0.0.1:8080",
    )
    worker_concurrency: int = Field(
        400, ge=4, validation_alias="WORKER_CONCURRENCY", description="deliveries in hand per channel"
    )
    lease_seconds: Seconds = Field(
        60.0,
        validation_alias="TOCSIN_LEASE_SECONDS",
        validate_default=True,
        description="how long a worker has a delivery; 5 s more than a call may last, or longer",
    )
    rate_limit_hourly: int = Field(
        10, ge=1, validation_alias="RATE_LIMIT_HOURLY", description="messages an hour, channel and user"
    )
    rate_limit_daily: int = Field(
        50, ge=1, validation_alias="RATE_LIMIT_DAILY", description="messages a local day, channel and user"
    )
    critical_hourly: int = Field(
        30, ge=1, validation_alias="TOCSIN_CRITICAL_HOURLY", description="critical messages an hour, channel and user"
    )
    unverified_email_allowed: bool = Field(
        True, validation_alias="TOCSIN_UNVERIFIED_EMAIL_ALLOWED", description="send to e-mail nobody vouched for"
    )
    verifications_a_day: int = Field(
        10_000,
        ge=1,
        validation_alias="TOCSIN_VERIFICATIONS_A_DAY",
        description="codes a day that a bank's users may ask for, all together",
    )
    keep_deliveries: timedelta = Field(
        timedelta(days=180), validation_alias="TOCSIN_KEEP_DELIVERIES", description="how long deliveries are kept"
    )
    archive_notifications: timedelta = Field(
        timedelta(days=90), validation_alias="TOCSIN_ARCHIVE_NOTIFICATIONS", description="when the inbox hides them"
    )
    keep_notifications: timedelta = Field(
        timedelta(days=365), validation_alias="TOCSIN_KEEP_NOTIFICATIONS", description="how long they are kept"
    )
    keep_receipts: timedelta = Field(
        timedelta(days=30), validation_alias="TOCSIN_KEEP_RECEIPTS", description="how long receipts are kept"
    )

    @property
    def keep(self) -> Mapping[str, timedelta]:
        """How long things live (data model), by their name in `store.retention.FORGET`."""
        return {
            "notifications": self.keep_notifications,
            "deliveries": self.keep_deliveries,
            "receipts": self.keep_receipts,
            "callbacks": self.keep_receipts,
            "idempotency_keys": timedelta(hours=24),
            "counters": timedelta(days=2),
            "ledger_minutes": timedelta(days=365),
            "mailbox": timedelta(days=30),
            "dead_letters": timedelta(days=90),
            "breakers": timedelta(days=1),
            "verifications": timedelta(days=1),
            "verification_counts": timedelta(days=2),
            "webhook_secrets": timedelta(),
        }

    @field_validator("unsubscribe_key")
    @classmethod
    def _signs_in_production(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        keys = signing_keys(value.get_secret_value()).values()
        if _DEV_UNSUBSCRIBE_KEY.encode() in keys and info.data.get("env") is Environment.PRODUCTION:
            raise ValueError("it is required: with a key that everybody knows anybody unsubscribes others")
        return value

    @field_validator("secrets_keys")
    @classmethod
    def _are_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            keys_of(value.get_secret_value())
        return value

    @field_validator("vapid_key")
    @classmethod
    def _is_a_private_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            private_key(bytes_of(value.get_secret_value()))
        return value

    @field_validator("smtp_security")
    @classmethod
    def _hides_the_password(cls, value: str, info: ValidationInfo) -> str:
        if value == "none" and info.data.get("smtp_username") and info.data.get("env") is Environment.PRODUCTION:
            raise ValueError("the password would cross the network in the clear")
        return value

    @field_validator("local_endpoints")
    @classmethod
    def _are_for_dev(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if value and info.data.get("env") is Environment.PRODUCTION:
            raise ValueError("they are for TOCSIN_ENV=dev only: whoever adds an endpoint could reach them")
        return value

    @property
    def secret_keys(self) -> list[bytes]:
        """The keys that secrets are sealed with, the first one seals."""
        return [] if self.secrets_keys is None else keys_of(self.secrets_keys.get_secret_value())

    @property
    def vapid_private_key(self) -> ec.EllipticCurvePrivateKey | None:
        """The key that push services know us by."""
        return None if self.vapid_key is None else private_key(bytes_of(self.vapid_key.get_secret_value()))

    @property
    def local_addresses(self) -> frozenset[tuple[str, int]]:
        """Host and port of each local endpoint."""
        pairs = (one.rpartition(":") for one in self.local_endpoints)
        return frozenset((host, int(port)) for host, _, port in pairs)

    @field_validator("lease_seconds")
    @classmethod
    def _outlasts_a_call(cls, value: float, info: ValidationInfo) -> float:
        if value < info.data.get("provider_seconds", 0.0) + _TO_RECORD:
            raise ValueError("it is not 5 s more than TOCSIN_PROVIDER_SECONDS: calls under way were taken for lost")
        return value
