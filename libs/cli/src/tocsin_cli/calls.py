"""Calling a service as an operator or as a bank."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import grpc
import jwt
import typer
from opentelemetry.trace import NoOpTracer

from tocsin_cli.settings import CliSettings
from tocsin_cli.show import complain
from tocsin_kit.clock import SystemClock
from tocsin_kit.rpc.caller import Scope
from tocsin_kit.rpc.client import channel
from tocsin_kit.rpc.errors import TocsinError, from_rpc_error
from tocsin_kit.rpc.tokens import InternalTokens, mint_dev_token
from tocsin_kit.settings import Environment

Answer = TypeVar("Answer")
_DEV_TOKEN_LASTS = timedelta(hours=12)


def bearer(settings: CliSettings) -> str:
    """The operator's token: TOCSIN_TOKEN, or one of scope admin signed with TOCSIN_INTERNAL_KEY. Else exits with 2."""
    if settings.token is not None:
        return settings.token.get_secret_value()
    if settings.internal_key is None:
        complain("set TOCSIN_TOKEN (an operator's token) or TOCSIN_INTERNAL_KEY")
        raise typer.Exit(2)
    return InternalTokens(settings.internal_key, SystemClock(), "tocsin-cli", [Scope.ADMIN]).current()


def bank_bearer(settings: CliSettings, partner: int | None) -> str:
    """A bank's token: TOCSIN_TOKEN, or in dev one of scope service for `partner`. Else exits with 2.

    It exits with 2 too where TOCSIN_TOKEN is not of `partner`.
    """
    if settings.token is not None:
        token = settings.token.get_secret_value()
        if partner is not None and partner_of(token) != str(partner):
            complain(f"TOCSIN_TOKEN is of partner {partner_of(token) or 'nobody'}, not of --partner {partner}")
            raise typer.Exit(2)
        return token
    if settings.env is not Environment.DEV or settings.jwt_secret is None or partner is None:
        complain("set TOCSIN_TOKEN (a bank's token of scope service); in dev, TOCSIN_JWT_SECRET and --partner do")
        raise typer.Exit(2)
    return mint_dev_token(
        settings.jwt_secret.get_secret_value(),
        subject="tocsin-cli",
        scopes=[Scope.SERVICE],
        expires_at=SystemClock().now() + _DEV_TOKEN_LASTS,
        partner_id=partner,
        audience=settings.jwt_audience,
    )


def partner_of(token: str | None) -> str:
    """The bank a token says it is of; empty where it says nothing that can be read here."""
    try:
        return str(jwt.decode(token or "", options={"verify_signature": False}).get("partner", ""))
    except jwt.InvalidTokenError:
        return ""


def call(
    settings: CliSettings,
    target: str,
    work: Callable[[grpc.aio.Channel], Awaitable[Answer]],
    token: str | None = None,
) -> Answer:
    """What `work` answers with a channel to `target`, called as an operator unless with another's `token`.

    Exits with 1 and the error in words when a call fails.
    """
    token = token or bearer(settings)
    try:
        return asyncio.run(_called(target, token, work))
    except TocsinError as error:
        complain(f"{error.reason.value}: {error.message}")
        raise typer.Exit(1) from None


async def _called(target: str, token: str, work: Callable[[grpc.aio.Channel], Awaitable[Answer]]) -> Answer:
    async with channel(target, tokens=_Fixed(token), tracer=NoOpTracer()) as opened:
        try:
            return await work(opened)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error


class _Fixed:
    """The one token of this command's run."""

    def __init__(self, token: str) -> None:
        self._token = token

    def current(self) -> str:
        """The token."""
        return self._token
