"""`tocsin token`: a token for a laptop."""

from __future__ import annotations

from typing import Annotated

import typer

from tocsin_cli import times
from tocsin_cli.settings import read_settings
from tocsin_cli.show import complain
from tocsin_kit.rpc.caller import OURS, Scope
from tocsin_kit.rpc.tokens import mint_dev_token
from tocsin_kit.settings import Environment


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("token")(run)


def run(
    scope: Annotated[list[Scope] | None, typer.Option(help="What it allows; repeatable. Default: user.")] = None,
    partner: Annotated[int | None, typer.Option(help="The bank it is of.")] = None,
    user: Annotated[int | None, typer.Option(help="The user it is of, by the bank's id.")] = None,
    subject: Annotated[str | None, typer.Option(help="Whom it names, where that is no user.")] = None,
    expires: Annotated[str, typer.Option(help="How long it is good for: 90s, 30m, 12h, 7d.")] = "12h",
) -> None:
    """Print a token signed with the dev key. Works with TOCSIN_ENV=dev only.

    For example: tocsin token --user 1 --partner 1
    """
    settings = read_settings()
    if settings.env is not Environment.DEV or settings.jwt_secret is None:
        complain("tokens are made here with TOCSIN_ENV=dev and TOCSIN_JWT_SECRET only")
        raise typer.Exit(2)
    scopes = scope or [Scope.USER]
    _check(scopes, partner, user)
    token = mint_dev_token(
        settings.jwt_secret.get_secret_value(),
        subject=subject or (str(user) if user is not None else "tocsin-cli"),
        scopes=scopes,
        expires_at=times.now() + times.span(expires),
        partner_id=partner,
        audience=settings.jwt_audience,
    )
    typer.echo(token)


def _check(scopes: list[Scope], partner: int | None, user: int | None) -> None:
    """Refuse what no service would accept."""
    ours = OURS.intersection(scopes)
    if ours and (len(ours) < len(set(scopes)) or partner is not None or user is not None):
        raise typer.BadParameter("admin and internal tokens belong to no partner and go with no other scope")
    if not ours and partner is None:
        raise typer.BadParameter("--partner is needed")
    if Scope.USER in scopes and user is None:
        raise typer.BadParameter("--user is needed")
