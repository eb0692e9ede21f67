"""`tocsin dead-letters`: messages from inside that could not be taken in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, TypeVar

import typer

from tocsin.notifications.v1 import delivery_pb2, delivery_pb2_grpc
from tocsin_cli.calls import call
from tocsin_cli.settings import read_settings
from tocsin_cli.show import complain, fields, instant, say, table
from tocsin_cli.times import instant as typed_instant

Answer = TypeVar("Answer")
Stream = Annotated[str, typer.Option(help="Of this stream only: FIRINGS, PROFILES or RECEIPTS.")]
Error = Annotated[str, typer.Option(help="Only those whose error holds these words.")]
Since = Annotated[
    datetime | None,
    typer.Option(parser=typed_instant, metavar="INSTANT", help="Come since then: 2025-11-01T10:00Z, 2h."),
]
Until = Annotated[datetime | None, typer.Option(parser=typed_instant, metavar="INSTANT", help="Come before then.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Look at messages that could not be taken in, and try them again.", no_args_is_help=True)
    group.command("list")(listing)
    group.command()(show)
    group.command()(retry)
    app.add_typer(group, name="dead-letters")


def _ask(work: Callable[[delivery_pb2_grpc.DeliveryServiceAsyncStub], Awaitable[Answer]]) -> Answer:
    settings = read_settings()
    return call(
        settings, settings.dispatcher_target, lambda opened: work(delivery_pb2_grpc.DeliveryServiceStub(opened))
    )


def listing(
    stream: Stream = "",
    error: Error = "",
    since: Since = None,
    until: Until = None,
    taken_in: Annotated[bool, typer.Option("--taken-in", help="Also those that were taken in since.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many at most.")] = 50,
) -> None:
    """List dead letters, newest first."""
    request = delivery_pb2.ListDeadLettersRequest(
        stream=stream.upper(), error=error, with_taken_in=taken_in, page_size=limit
    )
    _bound(request, since, until)
    answer = _ask(lambda deliveries: deliveries.ListDeadLetters(request))
    table(
        ("id", "stream", "subject", "came", "taken in", "bytes", "error"),
        (
            (
                one.id,
                one.stream,
                one.subject,
                instant(one.died_at),
                instant(one.taken_in_at),
                str(one.size),
                one.error,
            )
            for one in answer.dead_letters
        ),
        nothing="no dead letters",
    )


def show(
    letter_id: Annotated[str, typer.Argument(help="The dead letter's id.")],
    raw: Annotated[bool, typer.Option("--raw", help="The bytes in hexadecimal, also where they can be read.")] = False,
) -> None:
    """Show one with what it says and each time it was tried again."""
    request = delivery_pb2.GetDeadLetterRequest(id=letter_id)
    one = _ask(lambda deliveries: deliveries.GetDeadLetter(request)).dead_letter
    fields(
        (
            ("id", one.id),
            ("stream", one.stream),
            ("subject", one.subject),
            ("message", one.message_id),
            ("came", instant(one.died_at)),
            ("taken in", instant(one.taken_in_at)),
            ("error", one.error),
        )
    )
    if one.retries:
        table(
            ("tried", "by", "what came of it"),
            ((instant(each.at), each.subject, each.error or "taken in") for each in one.retries),
            nothing="",
        )
    say(one.decoded if one.decoded and not raw else one.content.hex(" "))


def retry(
    letter_ids: Annotated[
        list[str] | None, typer.Argument(help="Their ids; none: all that fit.", show_default=False)
    ] = None,
    stream: Stream = "",
    error: Error = "",
    since: Since = None,
    until: Until = None,
    all_: Annotated[bool, typer.Option("--all", help="All that are dead.")] = False,
) -> None:
    """Take dead letters in once more: those named, or all that fit."""
    request = delivery_pb2.RetryDeadLettersRequest(ids=letter_ids or ())
    wanted = delivery_pb2.DeadLetterFilter(stream=stream.upper(), error=error)
    _bound(wanted, since, until)
    if bool(letter_ids) == bool(all_ or wanted.ByteSize()):
        complain("name dead letters, or say which by --stream, --error, --since, --until or --all")
        raise typer.Exit(2)
    if not letter_ids:
        request.filter.SetInParent()
        request.filter.MergeFrom(wanted)
    answer = _ask(lambda deliveries: deliveries.RetryDeadLetters(request))
    table(
        ("id", "what came of it"),
        ((one.id, "taken in" if one.taken_in else one.error) for one in answer.results),
        nothing="no dead letters",
    )
    if answer.more:
        say("there are more that fit: run it again")
    if not all(one.taken_in for one in answer.results):
        raise typer.Exit(1)


def _bound(
    wanted: delivery_pb2.ListDeadLettersRequest | delivery_pb2.DeadLetterFilter,
    since: datetime | None,
    until: datetime | None,
) -> None:
    if since is not None:
        wanted.since.FromDatetime(since)
    if until is not None:
        wanted.until.FromDatetime(until)
