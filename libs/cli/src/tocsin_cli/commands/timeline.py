"""`tocsin timeline`: what happened to a notification."""

from __future__ import annotations

from typing import Annotated

import typer

from tocsin.notifications.v1 import notification_pb2, notification_pb2_grpc
from tocsin.types.v1 import types_pb2
from tocsin_cli.alerts import AsJson, print_json
from tocsin_cli.calls import call
from tocsin_cli.choices import word
from tocsin_cli.settings import read_settings
from tocsin_cli.show import instant, table

_CHANNEL = types_pb2.DESCRIPTOR.enum_types_by_name["Channel"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("timeline")(run)


def run(
    notification_id: Annotated[str, typer.Argument(help="The notification's id.")],
    partner: Annotated[int, typer.Option(help="The bank.")],
    as_json: AsJson = False,
) -> None:
    """Tell what happened to a notification, oldest first, in words to be read to its user.

    For example: tocsin timeline 019a4d57-efc0-777b-9df6-a77ad8474f03 --partner 1
    """
    request = notification_pb2.GetTimelineRequest(id=notification_id, partner_id=partner)
    settings = read_settings()
    answer = call(
        settings,
        settings.dispatcher_target,
        lambda opened: notification_pb2_grpc.NotificationServiceStub(opened).GetTimeline(request),
    )
    if as_json:
        print_json(answer)
        return
    table(
        ("when", "channel", "what happened", "provider"),
        (
            (instant(one.at), word(_CHANNEL, one.channel) if one.channel else "", one.text, _provider(one))
            for one in answer.entries
        ),
        nothing="nothing happened",
    )


def _provider(one: notification_pb2.TimelineEntry) -> str:
    """Which provider was called, and what it said: for whoever asks the agent for more."""
    said = " ".join((one.attempt.provider, one.attempt.status_code, one.attempt.answer)) if one.attempt.number else ""
    return said.strip() or one.said
