"""`tocsin audit`: do the books balance."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, timedelta
from typing import Annotated

import typer

from tocsin.notifications.v1 import delivery_pb2, delivery_pb2_grpc
from tocsin.types.v1 import types_pb2
from tocsin_cli import times
from tocsin_cli.calls import call
from tocsin_cli.choices import word
from tocsin_cli.settings import read_settings
from tocsin_cli.show import complain, instant, say, table

#: A month of a busy bank's firings is counted in it.
_LIMIT = timedelta(minutes=2)
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
    """Compare firings older than two minutes with notifications, count deliveries, and look for those that are missing,
    lost, overdue or tell nobody. Earlier gaps that an audit found and that still stand are told too. Exits with 1 when
    the books do not balance, or nothing could be compared."""
    request = delivery_pb2.GetLedgerRequest(partner_id=partner)
    request.since.FromDatetime(times.instant(since))
    request.until.FromDatetime(times.instant(until) if until else times.now())
    settings = read_settings()
    ledger = call(
        settings,
        settings.dispatcher_target,
        lambda opened: delivery_pb2_grpc.DeliveryServiceStub(opened).GetLedger(request, timeout=_LIMIT.total_seconds()),
    )
    was_compared = ledger.compared_until.ToDatetime(UTC) > request.since.ToDatetime(UTC)
    _print(ledger, was_compared=was_compared)
    if wrong := [f"{what}: {count}" for what, count in _counts(ledger) if count]:
        complain(f"the books do not balance: {'; '.join(wrong)}")
    elif not was_compared:
        complain("nothing was compared: firings of the last two minutes may still be on their way")
    if wrong or not was_compared:
        raise typer.Exit(1)


def _findings(ledger: delivery_pb2.GetLedgerResponse) -> Sequence[tuple[str, delivery_pb2.LedgerFinding]]:
    return (
        ("notifications without exactly the deliveries that were planned", ledger.unplanned),
        ("deliveries that a worker has kept past its lease", ledger.lost),
        ("deliveries due for more than 5 minutes", ledger.overdue),
        ("deliveries merged into one that nobody got, or digests of nothing", ledger.orphans),
    )


def _counts(ledger: delivery_pb2.GetLedgerResponse) -> Sequence[tuple[str, int]]:
    """What must be nought, in words, and how many there are."""
    differing = sum(not minute.balanced for minute in ledger.minutes)
    return (
        ("firings and notifications without a match", ledger.gap),
        ("minutes that differ", differing),
        *((what, finding.count) for what, finding in _findings(ledger)),
    )


def _print(ledger: delivery_pb2.GetLedgerResponse, *, was_compared: bool) -> None:
    firings = sum(minute.firings for minute in ledger.minutes)
    notifications = sum(minute.notifications for minute in ledger.minutes)
    say(
        f"compared until {instant(ledger.compared_until)}: {len(ledger.minutes)} minutes in which something fired,"
        f" {firings} firings, {notifications} notifications, gap {ledger.gap}"
        if was_compared
        else "no minutes compared"
    )
    for what, finding in _findings(ledger):
        say(f"{what}: {finding.count}")
    _print_what_is_wrong(ledger)
    table(
        ("channel", "status", "deliveries"),
        ((word(_CHANNEL, one.channel), word(_STATUS, one.status), str(one.count)) for one in ledger.deliveries),
        nothing="no deliveries",
    )


def _print_what_is_wrong(ledger: delivery_pb2.GetLedgerResponse) -> None:
    if unbalanced := [minute for minute in ledger.minutes if not minute.balanced]:
        table(
            ("minute that differs", "firings", "notifications"),
            ((instant(one.minute), str(one.firings), str(one.notifications)) for one in unbalanced),
            nothing="",
        )
    named = [(id_, "", "firings without a notification") for id_ in ledger.missing_firing_ids]
    named += [(one.id, str(one.partner_id), what) for what, finding in _findings(ledger) for one in finding.first]
    if named:
        table(("id", "partner", "one of the"), named, nothing="")
