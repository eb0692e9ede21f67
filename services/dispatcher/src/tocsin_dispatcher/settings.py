"""What the environment may say to the dispatcher."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from tocsin_kit.settings import Port, Seconds, ServiceSettings

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
    email_chain: tuple[Literal["sendgrid", "mailbox"], ...] = Field(
        ("sendgrid",), validation_alias="TOCSIN_EMAIL_PROVIDERS", description="providers of e-mail in order, JSON list"
    )
    provider_seconds: Seconds = Field(
        10.0, validation_alias="TOCSIN_PROVIDER_SECONDS", description="time limit of a provider's call"
    )
    provider_paces: dict[Literal["sendgrid", "twilio"], Annotated[int, Field(ge=1)]] = Field(
        {},
        validation_alias="TOCSIN_PROVIDER_PACES",
        description='calls a minute and process, by provider, JSON as {"twilio": 60}; default none',
    )
    unsubscribe_key: SecretStr = Field(
        SecretStr("tocsin unsubscribe, for development only"),
        validation_alias="TOCSIN_UNSUBSCRIBE_KEY",
        min_length=16,
        description="signs unsubscribe links; the gateway has the same",
    )
    address_key: SecretStr | None = Field(
        None, validation_alias="TOCSIN_ADDRESS_KEY", description="keys the suppression list; default the internal key"
    )
    worker_concurrency: int = Field(
        200, ge=4, validation_alias="WORKER_CONCURRENCY", description="deliveries in hand per channel"
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

    @field_validator("lease_seconds")
    @classmethod
    def _outlasts_a_call(cls, value: float, info: ValidationInfo) -> float:
        if value < info.data.get("provider_seconds", 0.0) + _TO_RECORD:
            raise ValueError("it is not 5 s more than TOCSIN_PROVIDER_SECONDS: calls under way were taken for lost")
        return value
