"""`tocsin deliveries`: messages on their way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, TypeVar

import typer

from tocsin.notifications.v1 import delivery_pb2, delivery_pb2_grpc
from tocsin.types.v1 import types_pb2
from tocsin_cli.calls import call
from tocsin_cli.choices import number, word
from tocsin_cli.settings import read_settings
from tocsin_cli.show import fields, instant, say, table
from tocsin_cli.times import instant as typed_instant

_CHANNEL = types_pb2.DESCRIPTOR.enum_types_by_name["Channel"]
_STATUS = delivery_pb2.DESCRIPTOR.enum_types_by_name["DeliveryStatus"]
_REASON = delivery_pb2.DESCRIPTOR.enum_types_by_name["DeliveryReason"]
_OUTCOME = delivery_pb2.DESCRIPTOR.enum_types_by_name["AttemptOutcome"]
Answer = TypeVar("Answer")
DeliveryId = Annotated[str, typer.Argument(help="The delivery's id.")]
Partner = Annotated[int, typer.Option(help="The bank.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Look at deliveries and retry them.", no_args_is_help=True)
    group.command("list")(listing)
    group.command()(show)
    group.command()(retry)
    group.command("retry-failed")(retry_failed)
    app.add_typer(group, name="deliveries")


def _ask(work: Callable[[delivery_pb2_grpc.DeliveryServiceAsyncStub], Awaitable[Answer]]) -> Answer:
    settings = read_settings()
    return call(
        settings, settings.dispatcher_target, lambda opened: work(delivery_pb2_grpc.DeliveryServiceStub(opened))
    )


def listing(
    partner: Partner = 0,
    user: Annotated[int, typer.Option(help="One user's; goes with --partner.")] = 0,
    notification: Annotated[str, typer.Option(help="One notification's, by its id.")] = "",
    channel: Annotated[str | None, typer.Option(help="email, sms, in_app, push or webhook.")] = None,
    status: Annotated[str | None, typer.Option(help="In this state only: failed, unknown, held, ...")] = None,
    reason: Annotated[str | None, typer.Option(help="With this reason only: quiet_hours, ...")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many at most.")] = 50,
) -> None:
    """List deliveries, newest first."""
    request = delivery_pb2.ListDeliveriesRequest(
        partner_id=partner,
        user_id=user,
        notification_id=notification,
        channel=types_pb2.Channel.ValueType(number(_CHANNEL, channel)),
        status=delivery_pb2.DeliveryStatus.ValueType(number(_STATUS, status)),
        reason=delivery_pb2.DeliveryReason.ValueType(number(_REASON, reason)),
        page_size=limit,
    )
    answer = _ask(lambda deliveries: deliveries.ListDeliveries(request))
    table(
        ("id", "partner", "channel", "status", "reason", "attempt", "created", "due", "error"),
        (
            (
                one.id,
                str(one.partner_id),
                word(_CHANNEL, one.channel),
                word(_STATUS, one.status),
                word(_REASON, one.reason),
                str(one.attempt),
                instant(one.created_at),
                instant(one.due_at),
                one.error,
            )
            for one in answer.deliveries
        ),
        nothing="no deliveries",
    )


def show(delivery_id: DeliveryId, partner: Partner) -> None:
    """Show one delivery with its attempts."""
    request = delivery_pb2.GetDeliveryRequest(id=delivery_id, partner_id=partner)
    _one(_ask(lambda deliveries: deliveries.GetDelivery(request)).delivery)


def retry(delivery_id: DeliveryId, partner: Partner) -> None:
    """Try a failed or expired delivery again."""
    request = delivery_pb2.RetryDeliveryRequest(id=delivery_id, partner_id=partner)
    _one(_ask(lambda deliveries: deliveries.RetryDelivery(request)).delivery)


def retry_failed(
    since: Annotated[
        datetime, typer.Option(parser=typed_instant, metavar="INSTANT", help="Ended since then: 2025-11-01T10:00Z, 2h.")
    ],
    until: Annotated[
        datetime | None, typer.Option(parser=typed_instant, metavar="INSTANT", help="Ended before then; default now.")
    ] = None,
    partner: Partner = 0,
    channel: Annotated[str | None, typer.Option(help="email, sms, push or webhook.")] = None,
    status: Annotated[str | None, typer.Option(help="failed or expired; default both.")] = None,
    provider: Annotated[str, typer.Option(help="Last handed to this one: sendgrid, twilio, ...")] = "",
    error: Annotated[str, typer.Option(help="Only those whose error holds these words.")] = "",
) -> None:
    """Try all failed and expired deliveries that fit again, those that ended first before others."""
    request = delivery_pb2.RetryFailedDeliveriesRequest(
        partner_id=partner,
        channel=types_pb2.Channel.ValueType(number(_CHANNEL, channel)),
        status=delivery_pb2.DeliveryStatus.ValueType(number(_STATUS, status)),
        provider=provider,
        error=error,
    )
    request.failed_since.FromDatetime(since)
    if until is not None:
        request.failed_until.FromDatetime(until)
    retried = 0
    while True:
        answer = _ask(lambda deliveries: deliveries.RetryFailedDeliveries(request))
        retried += answer.retried
        if not answer.more or not answer.retried:
            break
    say(f"{retried} deliveries are tried again")


def _one(one: delivery_pb2.Delivery) -> None:
    """Print one delivery and its attempts."""
    fields(
        (
            ("id", one.id),
            ("partner, user", f"{one.partner_id}, {one.user_id}"),
            ("notification", one.notification_id),
            ("channel", word(_CHANNEL, one.channel)),
            ("destination", one.destination),
            ("status", word(_STATUS, one.status)),
            ("reason", word(_REASON, one.reason)),
            ("provider", f"{one.provider} {one.provider_id}".strip()),
            ("error", one.error),
            ("due", instant(one.due_at)),
            ("expires", instant(one.expires_at)),
            ("created", instant(one.created_at)),
            ("sent", instant(one.sent_at)),
            ("delivered", instant(one.delivered_at)),
            ("failed", instant(one.failed_at)),
        )
    )
    if one.attempts:
        table(
            ("attempt", "provider", "began", "outcome", "code", "answer"),
            (
                (
                    str(attempt.number),
                    f"{attempt.provider} {attempt.credential}".strip(),
                    instant(attempt.started_at),
                    word(_OUTCOME, attempt.outcome) + (" (may be a repeat)" if attempt.possible_duplicate else ""),
                    attempt.status_code,
                    attempt.answer,
                )
                for attempt in one.attempts
            ),
            nothing="",
        )
