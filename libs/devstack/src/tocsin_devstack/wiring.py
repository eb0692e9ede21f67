"""What each service is told, as its environment would: one source for the stack in one process and for `tocsin up`."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random

from tocsin_kit.rpc.caller import Scope
from tocsin_kit.rpc.tokens import mint_dev_token

SENDER_EMAIL, SENDER_NUMBER = "alerts@tocsin.example", "+13125550199"
SMTP_USERNAME = "tocsin"


@dataclass(frozen=True)
class Secrets:
    """Everything the services keep to themselves."""

    jwt_secret: str
    internal_key: str
    log_hash_key: str
    unsubscribe_key: str
    sendgrid_api_key: str
    twilio_account_sid: str
    twilio_auth_token: str

    @classmethod
    def by(cls, random: Random) -> "Secrets":
        """New ones by `random`: a SystemRandom where they have to keep, a seeded one in tests."""
        return cls(
            jwt_secret=random.randbytes(32).hex(),
            internal_key=random.randbytes(32).hex(),
            log_hash_key=random.randbytes(16).hex(),
            unsubscribe_key=random.randbytes(32).hex(),
            sendgrid_api_key=f"SG.{random.randbytes(16).hex()}",
            twilio_account_sid=f"AC{random.randbytes(16).hex()}",
            twilio_auth_token=random.randbytes(16).hex(),
        )

    @property
    def secrets_key(self) -> str:
        """What seals secrets in the database; it follows from the others, so that earlier homes have it too."""
        return _key_from(self.internal_key, "secrets")

    @property
    def vapid_key(self) -> str:
        """What push services know us by; likewise."""
        return _key_from(self.internal_key, "vapid")

    @property
    def smtp_password(self) -> str:
        """The second provider of e-mail knows us by it; likewise."""
        return _key_from(self.internal_key, "smtp")

    def user_token(self, user_id: int, partner_id: int, expires_at: datetime) -> str:
        """A user's token."""
        return mint_dev_token(
            self.jwt_secret, subject=str(user_id), scopes=(Scope.USER,), partner_id=partner_id, expires_at=expires_at
        )

    def partner_token(self, partner_id: int, scope: Scope, expires_at: datetime) -> str:
        """A token of a bank's back end (SERVICE) or of its staff (PARTNER)."""
        return mint_dev_token(
            self.jwt_secret,
            subject=f"partner-{partner_id}",
            scopes=(scope,),
            partner_id=partner_id,
            expires_at=expires_at,
        )

    def admin_token(self, expires_at: datetime) -> str:
        """An operator's token."""
        return mint_dev_token(self.jwt_secret, subject="operator", scopes=(Scope.ADMIN,), expires_at=expires_at)


@dataclass(frozen=True)
class Wiring:
    """Where everything is. `targets` are the services' gRPC addresses (several replicas as `ipv4:a:1,b:2`),
    `local_endpoints` what webhooks and push may call on this machine, `smtp_port` where e-mail goes when SendGrid is
    out (None: nowhere)."""

    secrets: Secrets
    database_urls: Mapping[str, str]
    nats_url: str
    public_url: str
    sendgrid_url: str
    sendgrid_public_key: str
    twilio_url: str
    smtp_port: int | None = None
    local_endpoints: Sequence[str] = ()
    targets: Mapping[str, str] = field(default_factory=dict)
    metrics_ports: Mapping[str, int] = field(default_factory=dict)
    otlp_endpoint: str | None = None

    def of(self, service: str, *, grpc_port: int = 0, admin_port: int = 0, http_port: int = 0) -> dict[str, str]:
        """The environment of one service."""
        told = {
            "TOCSIN_ENV": "dev",
            "DATABASE_URL": self.database_urls[service],
            "NATS_URL": self.nats_url,
            "TOCSIN_GRPC_PORT": str(grpc_port),
            "TOCSIN_ADMIN_PORT": str(admin_port),
            "TOCSIN_JWT_SECRET": self.secrets.jwt_secret,
            "TOCSIN_INTERNAL_KEY": self.secrets.internal_key,
            "TOCSIN_LOG_HASH_KEY": self.secrets.log_hash_key,
            **{f"TOCSIN_{name.upper()}_TARGET": target for name, target in self.targets.items()},
            **({"OTEL_EXPORTER_OTLP_ENDPOINT": self.otlp_endpoint} if self.otlp_endpoint else {}),
        }
        if service == "gateway":
            told |= self._gateway(http_port)
        if service == "dispatcher":
            told |= self._dispatcher()
        if service in ("dispatcher", "evaluator"):
            told["TOCSIN_SECRETS_KEYS"] = self.secrets.secrets_key
        return told

    def _gateway(self, http_port: int) -> dict[str, str]:
        sources = (f"{name}=http://127.0.0.1:{port}/metrics" for name, port in self.metrics_ports.items())
        return {
            "PORT": str(http_port),
            "PUBLIC_URL": self.public_url,
            "SENDGRID_WEBHOOK_PUBLIC_KEY": self.sendgrid_public_key,
            "TWILIO_AUTH_TOKEN": self.secrets.twilio_auth_token,
            "TOCSIN_UNSUBSCRIBE_KEY": self.secrets.unsubscribe_key,
            "TOCSIN_METRICS_SOURCES": ",".join(sources),
        }

    def _dispatcher(self) -> dict[str, str]:
        return {
            "PUBLIC_URL": self.public_url,
            "FRONTEND_URL": self.public_url,
            "SENDGRID_API_KEY": self.secrets.sendgrid_api_key,
            "SENDGRID_BASE_URL": self.sendgrid_url,
            "SENDGRID_FROM_EMAIL": SENDER_EMAIL,
            "SENDGRID_FROM_NAME": "Tocsin",
            "TWILIO_ACCOUNT_SID": self.secrets.twilio_account_sid,
            "TWILIO_AUTH_TOKEN": self.secrets.twilio_auth_token,
            "TWILIO_FROM_NUMBER": SENDER_NUMBER,
            "TWILIO_BASE_URL": self.twilio_url,
            "TOCSIN_UNSUBSCRIBE_KEY": self.secrets.unsubscribe_key,
            "TOCSIN_VAPID_KEY": self.secrets.vapid_key,
            "TOCSIN_LOCAL_ENDPOINTS": ",".join(self.local_endpoints),
            **self._smtp(),
        }

    def _smtp(self) -> dict[str, str]:
        if self.smtp_port is None:
            return {}
        return {
            "TOCSIN_SMTP_HOST": "127.0.0.1",
            "TOCSIN_SMTP_PORT": str(self.smtp_port),
            "TOCSIN_SMTP_USERNAME": SMTP_USERNAME,
            "TOCSIN_SMTP_PASSWORD": self.secrets.smtp_password,
            "TOCSIN_SMTP_TLS": "none",
        }


def _key_from(secret: str, purpose: str) -> str:
    """32 bytes in base64url that follow from a secret."""
    return base64.urlsafe_b64encode(hashlib.sha256(f"{purpose} of {secret}".encode()).digest()).decode()


def target_of(ports: Sequence[int]) -> str:
    """The gRPC address of one or several replicas on this machine."""
    return "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
