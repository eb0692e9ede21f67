"""`tocsin replay`: firings, or people's profiles, sent again."""

from __future__ import annotations

from typing import Annotated

import typer

from tocsin.alerts.v1 import evaluation_pb2, evaluation_pb2_grpc
from tocsin_cli import times
from tocsin_cli.calls import call
from tocsin_cli.settings import read_settings
from tocsin_cli.show import say


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay")(run)


def run(
    since: Annotated[
        str | None, typer.Option(help="From this time of firing on: an instant, or that long ago.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Before this time of firing. Default: now.")] = None,
    partner: Annotated[int, typer.Option(help="One bank's only. Default: all banks'.")] = 0,
    profiles: Annotated[
        bool, typer.Option("--profiles", help="Not firings, but what was told of --partner's people in the last days.")
    ] = False,
) -> None:
    """Publish the firings of a span again. Those that arrived before change nothing; nobody is told twice.

    For example: tocsin replay --since 2025-11-01T10:00Z --until 2025-11-01T11:00Z
    or: tocsin replay --profiles --partner 7
    """
    if profiles:
        if since or until or partner <= 0:
            raise typer.BadParameter("--profiles goes with --partner, and with no span")
        say(f"{_profiles(partner)} profiles published again")
        return
    if since is None:
        raise typer.BadParameter("--since is needed")
    request = evaluation_pb2.RepublishFiringsRequest(partner_id=partner)
    request.since.FromDatetime(times.instant(since))
    request.until.FromDatetime(times.instant(until) if until else times.now())
    if request.since.ToDatetime() >= request.until.ToDatetime():
        raise typer.BadParameter("--since must be before --until")
    settings = read_settings()
    answer = call(
        settings,
        settings.evaluator_target,
        lambda opened: evaluation_pb2_grpc.EvaluationServiceStub(opened).RepublishFirings(request),
    )
    say(f"{answer.published} firings published again")


def _profiles(partner: int) -> int:
    """Have a bank's profiles published again, page by page; how many there are."""
    settings = read_settings()
    request, total = evaluation_pb2.RepublishProfilesRequest(partner_id=partner), 0
    while True:
        answer = call(
            settings,
            settings.evaluator_target,
            lambda opened: evaluation_pb2_grpc.EvaluationServiceStub(opened).RepublishProfiles(request),
        )
        total += answer.published
        if not answer.HasField("last_user_id"):
            return total
        request.after_user_id = answer.last_user_id
