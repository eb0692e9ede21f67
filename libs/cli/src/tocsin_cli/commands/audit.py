"""`tocsin audit`: do the books balance."""

from __future__ import annotations

from typing import Annotated

import typer

from tocsin.notifications.v1 import delivery_pb2, delivery_pb2_grpc
from tocsin.types.v1 import types_pb2
from tocsin_cli import times
from tocsin_cli.calls import call
from tocsin_cli.choices import word
from tocsin_cli.settings import read_settings
from tocsin_cli.show import complain, instant, say, table

_CHANNEL = types_pb2.DESCRIPTOR.enum_types_by_name["Channel"]
_STATUS = delivery_pb2.DESCRIPTOR.enum_types_by_name["DeliveryStatus"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("audit")(run)


def run(
    since: Annotated[str, typer.Option(help="From this instant on, or that long ago: 2h, 7d.")] = "1h",
    until: Annotated[str | None, typer.Option(help="Before this instant. Default: now.")] = None,
    partner: Annotated[int, typer.Option(help="One bank's only. Default: all banks'.")] = 0,
) -> None:
    """Compare firings with notifications and count deliveries. Exits with 1 when the books do not balance."""
    request = delivery_pb2.GetLedgerRequest(partner_id=partner)
    request.since.FromDatetime(times.instant(since))
    request.until.FromDatetime(times.instant(until) if until else times.now())
    settings = read_settings()
    ledger = call(
        settings,
        settings.dispatcher_target,
        lambda opened: delivery_pb2_grpc.DeliveryServiceStub(opened).GetLedger(request),
    )
    _print(ledger)
    if ledger.gap or any(not minute.balanced for minute in ledger.minutes):
        complain(f"the books do not balance: {ledger.gap} firings without a notification")
        raise typer.Exit(1)


def _print(ledger: delivery_pb2.GetLedgerResponse) -> None:
    firings = sum(minute.firings for minute in ledger.minutes)
    notifications = sum(minute.notifications for minute in ledger.minutes)
    say(f"{len(ledger.minutes)} minutes compared: {firings} firings, {notifications} notifications, gap {ledger.gap}")
    if unbalanced := [minute for minute in ledger.minutes if not minute.balanced]:
        table(
            ("minute that differs", "firings", "notifications"),
            ((instant(one.minute), str(one.firings), str(one.notifications)) for one in unbalanced),
            nothing="",
        )
    table(
        ("channel", "status", "deliveries"),
        ((word(_CHANNEL, one.channel), word(_STATUS, one.status), str(one.count)) for one in ledger.deliveries),
        nothing="no deliveries",
    )
