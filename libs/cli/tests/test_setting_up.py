"""Commands that need no service: migrate, config, token, and what plug-ins add."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
import typer
from pydantic_settings import BaseSettings
from typer.testing import CliRunner

from tocsin_cli.app import make_app
from tocsin_cli.services import SERVICES
from tocsin_cli.settings import CliSettings
from tocsin_kit.clock import SystemClock
from tocsin_kit.settings import environment_name, load

Run = Callable[..., Any]
DEV_KEY = "a dev key of more than thirty-two bytes"
DEV = {"TOCSIN_ENV": "dev", "TOCSIN_JWT_SECRET": DEV_KEY}


def claims_of(token: str) -> dict[str, Any]:
    """What a token says."""
    claims: dict[str, Any] = jwt.decode(token.strip(), DEV_KEY, ["HS256"], audience="tocsin")
    return claims


def test_a_users_token_is_all_that_is_printed(tocsin: Run) -> None:
    result = tocsin("token", "--user", "42", "--partner", "7", "--expires", "30m", **DEV)
    claims = claims_of(result.stdout)
    left = claims.pop("exp") - SystemClock().now().timestamp()
    assert claims == {"sub": "42", "partner": 7, "scope": "user", "aud": "tocsin"}
    assert 1700 < left <= 1800


def test_a_back_end_and_an_operator_have_tokens_too(tocsin: Run) -> None:
    service = claims_of(tocsin("token", "--scope", "service", "--partner", "7", "--subject", "core", **DEV).stdout)
    assert (service["sub"], service["scope"], service["partner"]) == ("core", "service", 7)
    operator = claims_of(tocsin("token", "--scope", "admin", **DEV).stdout)
    assert (operator["scope"], "partner" in operator) == ("admin", False)


@pytest.mark.parametrize("environment", ["production", ""])
def test_tokens_are_made_in_dev_only(tocsin: Run, environment: str) -> None:
    result = tocsin("token", "--user", "1", "--partner", "1", TOCSIN_ENV=environment, TOCSIN_JWT_SECRET=DEV_KEY)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "TOCSIN_ENV=dev" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--user", "1"),
        ("--partner", "1"),
        ("--scope", "admin", "--partner", "1"),
        ("--scope", "admin", "--scope", "user", "--user", "1", "--partner", "1"),
        ("--scope", "root"),
        ("--user", "1", "--partner", "1", "--expires", "soon"),
    ],
    ids=" ".join,
)
def test_a_token_that_no_service_would_take_is_not_made(tocsin: Run, arguments: tuple[str, ...]) -> None:
    result = tocsin("token", *arguments, **DEV)
    assert (result.exit_code, result.stdout) == (2, "")


def test_every_setting_is_told_and_secrets_are_not(tocsin: Run) -> None:
    result = tocsin(
        "config",
        "scheduler",
        DATABASE_URL="postgresql://tocsin:hunter2@db/tocsin_scheduler",
        TOCSIN_INTERNAL_KEY="an internal key of more than 32 bytes",
        NATS_URL="nats://tocsin:hunter3@broker:4222",
        LOG_LEVEL="DEBUG",
        TOCSIN_ENV="dev",
    )
    assert result.exit_code == 0, result.output
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line.strip()}
    assert "environment" in lines["LOG_LEVEL"]
    assert "DEBUG" in lines["LOG_LEVEL"]
    assert "INFO" in lines["LOG_LEVEL"], "the default"
    assert "default" in lines["TOCSIN_GRPC_PORT"]
    assert "50051" in lines["TOCSIN_GRPC_PORT"]
    assert "broker:4222" in lines["NATS_URL"]
    for secret in ("hunter2", "hunter3", "an internal key"):
        assert secret not in result.output


def test_what_is_missing_is_named(tocsin: Run) -> None:
    result = tocsin("config", "scheduler")
    assert result.exit_code == 1
    assert "DATABASE_URL" in result.stderr
    assert "TOCSIN_INTERNAL_KEY" in result.stderr
    assert "TOCSIN_JWKS" in result.stderr
    assert "JOB_MAX_ATTEMPTS" in result.stdout, "the settings are listed all the same"


def test_lists_and_pairs_are_told_as_they_are_typed(tocsin: Run) -> None:
    result = tocsin(
        "config",
        "dispatcher",
        DATABASE_URL="postgresql://tocsin@db/tocsin_dispatcher",
        TOCSIN_INTERNAL_KEY="an internal key of more than 32 bytes",
        TOCSIN_ENV="dev",
        TOCSIN_PROVIDER_PACES="sendgrid=600,twilio=60",
        TOCSIN_SMTP_PASSWORD="hunter4",
    )
    assert result.exit_code == 0, result.output
    lines = {line.split()[0]: line.split(maxsplit=4) for line in result.stdout.splitlines() if line.strip()}
    assert lines["TOCSIN_EMAIL_PROVIDERS"][1:4] == ["sendgrid,smtp", "sendgrid,smtp", "default"]
    assert "in order, by comma" in lines["TOCSIN_EMAIL_PROVIDERS"][4]
    paces = lines["TOCSIN_PROVIDER_PACES"]
    assert paces[1:3] == ["sendgrid=600,twilio=60", "environment"], "the default is empty"
    assert "as sendgrid=600,twilio=60" in " ".join(paces[3:])
    assert "hunter4" not in result.output


def test_a_list_that_is_none_is_named_with_all_else_that_is_wrong(tocsin: Run) -> None:
    wrong = {"TOCSIN_EMAIL_PROVIDERS": "[", "TOCSIN_PROVIDER_PACES": "{", "LOG_LEVEL": "loud"}
    result = tocsin("config", "dispatcher", **wrong)
    assert result.exit_code == 1, result.exception
    for name in (*wrong, "DATABASE_URL", "TOCSIN_INTERNAL_KEY"):
        assert f"{name}: " in result.stderr
    assert "TOCSIN_EMAIL_PROVIDERS" in result.stdout, "the settings are listed all the same"


NONSENSE = ["nonsense", "[", "{", "[1,", ",", "=", "a=b=c", "-1", "1e400", "nan", "9" * 400, "99999999999 days", "AAAA"]
KINDS: list[type[BaseSettings]] = [*(known.settings_type() for known in SERVICES), CliSettings]
#: The product's own; all the rest begin with TOCSIN_ (operations.md, Configuration).
UNPREFIXED = {
    *("DATABASE_URL", "DATABASE_POOL_MIN", "DATABASE_POOL_MAX", "DATABASE_POOL_TIMEOUT", "PORT", "NATS_URL"),
    *("SENDGRID_API_KEY", "SENDGRID_FROM_EMAIL", "SENDGRID_FROM_NAME", "SENDGRID_BASE_URL"),
    *("SENDGRID_WEBHOOK_PUBLIC_KEY", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_FROM_NUMBER"),
    *("TWILIO_MESSAGING_SERVICE_SID", "TWILIO_BASE_URL", "PUBLIC_URL", "FRONTEND_URL", "WORKER_CONCURRENCY"),
    *("JOB_MAX_ATTEMPTS", "RATE_LIMIT_HOURLY", "RATE_LIMIT_DAILY", "SENTRY_DSN", "LOG_LEVEL"),
}


def variables(kind: type[BaseSettings]) -> list[str]:
    """What it reads."""
    return [environment_name(name, field) for name, field in kind.model_fields.items()]


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_the_product_s_or_begin_as_ours(kind: type[BaseSettings]) -> None:
    for name in variables(kind):
        assert name in UNPREFIXED or name.startswith(("TOCSIN_", "OTEL_")), name


@pytest.mark.parametrize("kind", KINDS)
def test_the_names_that_settings_have_in_python_are_no_variables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: type[BaseSettings]
) -> None:
    """An ENV=dev that is meant for something else must not let production start with keys that everybody knows."""
    monkeypatch.chdir(tmp_path)
    for name in variables(kind):
        monkeypatch.delenv(name, raising=False)

    def heard() -> str:
        try:
            return str(sorted(load(kind).model_fields_set))
        except SystemExit:
            return capsys.readouterr().err

    of_nothing = heard()
    for name in {name.upper() for name in kind.model_fields} - set(variables(kind)):
        monkeypatch.setenv(name, "dev")
    assert heard() == of_nothing


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("nonsense", NONSENSE, ids=lambda text: text[:12])
def test_whatever_a_variable_holds_is_taken_or_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: type[BaseSettings],
    nonsense: str,
) -> None:
    """One that ends the reading would hide what else is wrong."""
    monkeypatch.chdir(tmp_path)
    for name in variables(kind):
        monkeypatch.setenv(name, nonsense)
    with pytest.raises(SystemExit) as ended:
        load(kind)
    assert ended.value.code == 2
    named = [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()]
    assert len(named) == len(set(named)), named
    assert "TOCSIN_ENV" in named, "the first one"
    assert set(named) <= set(variables(kind))


def test_databases_that_nobody_named_are_asked_for_at_once(tocsin: Run) -> None:
    result = tocsin("migrate", TOCSIN_GATEWAY_DATABASE_URL="postgresql:///x")
    assert result.exit_code == 2
    for name in ("EVALUATOR", "DISPATCHER", "SCHEDULER"):
        assert f"TOCSIN_{name}_DATABASE_URL" in result.stderr
    assert "GATEWAY" not in result.stderr


def test_a_database_that_is_away_is_told_without_its_password(tocsin: Run) -> None:
    result = tocsin("migrate", "gateway", DATABASE_URL="postgresql://tocsin:hunter2@127.0.0.1:1/x")
    assert result.exit_code == 1
    assert "cannot reach" in result.stderr
    assert "hunter2" not in result.output


async def test_a_database_is_migrated_and_again(tocsin: Run, make_database: Any) -> None:
    url = await make_database("gateway", migrated=False)
    for _ in range(2):
        result = await _in_thread(tocsin, "migrate", "gateway", DATABASE_URL=url)
        assert result.exit_code == 0, result.output
        assert result.stdout.split()[0] == "gateway"


async def test_streams_are_applied_and_again(tocsin: Run, broker_url: str) -> None:
    for _ in range(2):
        result = await _in_thread(tocsin, "migrate", "streams", NATS_URL=broker_url)
        assert (result.exit_code, result.stdout.split()) == (0, ["streams", "applied"]), result.output


async def _in_thread(tocsin: Run, *arguments: str, **environment: str) -> Any:
    """The command makes an event loop of its own, which takes a thread without one."""
    return await asyncio.to_thread(tocsin, *arguments, **environment)


def test_a_plug_in_adds_its_command() -> None:
    def register(app: typer.Typer) -> None:
        @app.command("greet")
        def greet() -> None:
            """Say hello."""
            typer.echo("hello")

    app = make_app([register])
    assert CliRunner().invoke(app, ["greet"]).stdout == "hello\n"
    assert "greet" in CliRunner().invoke(app, ["--help"]).stdout
