"""`tocsin evaluations`: what was evaluated, what fired, and why the rest did not."""

from __future__ import annotations

from typing import Annotated

import typer

from tocsin.alerts.v1 import alert_pb2, evaluation_pb2, evaluation_pb2_grpc
from tocsin.types.v1 import types_pb2
from tocsin_cli import times
from tocsin_cli.calls import call
from tocsin_cli.choices import number, word
from tocsin_cli.settings import read_settings
from tocsin_cli.show import instant, say, table

_KIND = types_pb2.DESCRIPTOR.enum_types_by_name["AlertType"]
_WAY = evaluation_pb2.DESCRIPTOR.enum_types_by_name["EvaluationWay"]
_REASON = alert_pb2.DESCRIPTOR.enum_types_by_name["NotFiredReason"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluations")(run)


def run(
    since: Annotated[str, typer.Option(help="From this instant on, or that long ago: 2h, 7d.")] = "1h",
    until: Annotated[str | None, typer.Option(help="Before this instant. Default: now.")] = None,
    kind: Annotated[str | None, typer.Option(help="Of this kind only: account_threshold, goal, ...")] = None,
    way: Annotated[str | None, typer.Option(help="realtime, sweep, bills or user.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many lines at most.")] = 50,
) -> None:
    """List evaluations by minute, newest first: how many, how many were true, fired, and why the rest did not."""
    request = evaluation_pb2.GetEvaluationLedgerRequest(
        alert_type=types_pb2.AlertType.ValueType(number(_KIND, kind)),
        way=evaluation_pb2.EvaluationWay.ValueType(number(_WAY, way)),
        page_size=limit,
    )
    request.since.FromDatetime(times.instant(since))
    if until is not None:
        request.until.FromDatetime(times.instant(until))
    settings = read_settings()
    answer = call(
        settings,
        settings.evaluator_target,
        lambda opened: evaluation_pb2_grpc.EvaluationServiceStub(opened).GetEvaluationLedger(request),
    )
    table(
        ("minute", "kind", "way", "evaluated", "true", "fired", "not fired"),
        (
            (
                instant(line.minute),
                word(_KIND, line.alert_type),
                word(_WAY, line.way),
                str(line.evaluated),
                str(line.true_count),
                str(line.fired),
                ", ".join(f"{each.count} {word(_REASON, each.reason)}" for each in line.not_fired),
            )
            for line in answer.lines
        ),
        nothing="no evaluations",
    )
    if answer.next_page_token:
        say("there are more: narrow the span, or raise --limit")
