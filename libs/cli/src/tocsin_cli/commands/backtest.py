"""`tocsin backtest`: what an alert would have told."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tocsin.alerts.v1 import alert_pb2
from tocsin.types.v1 import types_pb2
from tocsin_cli import times
from tocsin_cli.alerts import AsJson, Partner, User, alert_from, ask, listed, print_json
from tocsin_cli.choices import word
from tocsin_cli.show import instant, say, table

_REASON = alert_pb2.DESCRIPTOR.enum_types_by_name["NotFiredReason"]
_KIND = types_pb2.DESCRIPTOR.enum_types_by_name["AlertType"]
_ALERT, _WINDOW = "The alert: one that is saved, by its id, or one of these", "The window"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("backtest")(run)


def run(
    alert_id: Annotated[int | None, typer.Argument(min=1, help="A saved alert's id.")] = None,
    alert_json: Annotated[
        Path | None,
        typer.Option(
            allow_dash=True, help="A file with an alert as REST takes it; - reads it here.", rich_help_panel=_ALERT
        ),
    ] = None,
    below: Annotated[
        str | None, typer.Option(help="--account's balance is below this.", rich_help_panel=_ALERT)
    ] = None,
    above: Annotated[
        str | None, typer.Option(help="--account's balance is above this.", rich_help_panel=_ALERT)
    ] = None,
    on_crossing: Annotated[
        bool, typer.Option("--on-crossing", help="Once, until it comes back.", rich_help_panel=_ALERT)
    ] = False,
    over: Annotated[str | None, typer.Option(help="A transaction is of at least this.", rich_help_panel=_ALERT)] = None,
    merchant: Annotated[
        str | None, typer.Option(help="A purchase where the merchant's name contains this.", rich_help_panel=_ALERT)
    ] = None,
    budget: Annotated[
        int | None, typer.Option(min=1, help="This budget reaches 50, 80, 90 or 100 %.", rich_help_panel=_ALERT)
    ] = None,
    bill: Annotated[
        int | None, typer.Option(min=1, help="This bill is due within 3 days.", rich_help_panel=_ALERT)
    ] = None,
    account: Annotated[
        int | None, typer.Option(min=1, help="The account, for --below, --above and --over.", rich_help_panel=_ALERT)
    ] = None,
    currency: Annotated[str, typer.Option(help="Of --below, --above and --over.", rich_help_panel=_ALERT)] = "USD",
    since: Annotated[
        str | None,
        typer.Option(help="From this instant on, or that long ago: 30d. Default: 90 days.", rich_help_panel=_WINDOW),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Up to this instant. Default: now.", rich_help_panel=_WINDOW)
    ] = None,
    user: User = None,
    partner: Partner = None,
    as_json: AsJson = False,
) -> None:
    """Tell what an alert, saved or not, would have told in the past. Nothing is saved and nothing is sent.

    For example: tocsin backtest --user 1 --account 11 --below 500 --since 365d
    """
    if on_crossing and below is None and above is None:
        raise typer.BadParameter("--on-crossing goes with --below and --above")
    if account is not None and below is None and above is None and over is None:
        raise typer.BadParameter("--account goes with --below, --above and --over")
    request = alert_pb2.BacktestAlertRequest()
    if alert_id is not None:
        request.alert_id = alert_id
    made = [
        _read(alert_json),
        _threshold(account, below, types_pb2.THRESHOLD_DIRECTION_BELOW, currency, on_crossing),
        _threshold(account, above, types_pb2.THRESHOLD_DIRECTION_ABOVE, currency, on_crossing),
        _limit(account, over, currency),
        _merchant(merchant),
        _budget(budget),
        _bill(bill),
    ]
    given = [each for each in made if each is not None]
    if len(given) + (alert_id is not None) != 1:
        raise typer.BadParameter(
            "say one alert: its id, or one of --below, --above, --over, --merchant, --budget, --bill and --alert-json"
        )
    if given:
        request.alert.CopyFrom(given[0])
    if since is not None:
        request.since.FromDatetime(times.instant(since))
    if until is not None:
        request.until.FromDatetime(times.instant(until))
    answer = ask(partner, user, lambda alerts, metadata: alerts.BacktestAlert(request, metadata=metadata))
    if as_json:
        print_json(answer)
    else:
        _print(answer)


def _read(file: Path | None) -> alert_pb2.Alert | None:
    if file is None:
        return None
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"cannot read {file}: {error}") from None
    return alert_from(text)


def _threshold(
    account: int | None,
    amount: str | None,
    direction: types_pb2.ThresholdDirection.ValueType,
    currency: str,
    on_crossing: bool,
) -> alert_pb2.Alert | None:
    if amount is None:
        return None
    if account is None:
        raise typer.BadParameter("--below and --above need an --account")
    condition = alert_pb2.AccountThresholdCondition(
        account_id=account,
        threshold=amount,
        currency=currency,
        direction=direction,
        repeat=alert_pb2.THRESHOLD_REPEAT_ON_CROSSING if on_crossing else alert_pb2.THRESHOLD_REPEAT_WHILE_TRUE,
    )
    return alert_pb2.Alert(account_threshold=condition)


def _limit(account: int | None, amount: str | None, currency: str) -> alert_pb2.Alert | None:
    if amount is None:
        return None
    condition = alert_pb2.TransactionLimitCondition(amount=amount, currency=currency, account_id=account)
    return alert_pb2.Alert(transaction_limit=condition)


def _merchant(pattern: str | None) -> alert_pb2.Alert | None:
    if pattern is None:
        return None
    match = alert_pb2.MERCHANT_MATCH_CONTAINS
    return alert_pb2.Alert(merchant_name=alert_pb2.MerchantNameCondition(merchant_pattern=pattern, match_type=match))


def _budget(budget: int | None) -> alert_pb2.Alert | None:
    if budget is None:
        return None
    return alert_pb2.Alert(spending_target=alert_pb2.SpendingTargetCondition(budget_id=budget))


def _bill(bill: int | None) -> alert_pb2.Alert | None:
    if bill is None:
        return None
    return alert_pb2.Alert(upcoming_bill=alert_pb2.UpcomingBillCondition(bill_id=bill))


def _print(answer: alert_pb2.BacktestAlertResponse) -> None:
    kind = word(_KIND, answer.alert_type).replace("_", " ")
    say(f"{kind}, {instant(answer.since)} to {instant(answer.until)}")
    if answer.missing_history:
        say(f"the past cannot be evaluated: {answer.missing_history}")
        return
    told = f"{answer.firing_count} firings"
    if answer.repeat_count:
        told += f", told again {answer.repeat_count} times: {answer.message_count} messages"
    say(f"{answer.true_count} times true; {told}; {answer.sms_segments} SMS segments if all were texted")
    if answer.not_fired:
        say("not fired: " + ", ".join(f"{each.count} {word(_REASON, each.reason)}" for each in answer.not_fired))
    table(
        ("at", "again", "values"),
        ((instant(each.at), str(each.repeats or ""), _values(each)) for each in answer.firings),
        nothing="nothing would have been told",
    )
    if answer.truncated:
        say("only the newest are listed")
    for note in answer.notes:
        say(f"note: {note}")


def _values(firing: alert_pb2.BacktestFiring) -> str:
    kind = firing.context.WhichOneof("kind")
    return listed(getattr(firing.context, kind)) if kind else ""
