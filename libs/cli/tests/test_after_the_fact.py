"""Commands that look at what happened, and have it done again."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tocsin.notifications.v1 import delivery_pb2, notification_pb2
from tocsin.types.v1 import types_pb2
from tocsin_kit.rpc.caller import Scope
from tocsin_kit.rpc.errors import not_found

from .conftest import Services

Run = Callable[..., Any]
ID, OTHER = "01890a5d-ac96-774b-bcce-b302099a8057", "01890a5d-ac96-774b-bcce-b302099a8058"


def at(hour: int) -> Timestamp:
    """An hour of 3 November 2025."""
    stamp = Timestamp()
    stamp.FromDatetime(datetime(2025, 11, 3, hour, tzinfo=UTC))
    return stamp


LETTER = delivery_pb2.DeadLetter(
    id=ID,
    stream="FIRINGS",
    subject="tocsin.firings.realtime",
    message_id="m1",
    error="DecodeError: [broken]",
    died_at=at(9),
    size=3,
    content=b"\x01\xab\xff",
    decoded='{"id": "x"}',
    retries=[delivery_pb2.DeadLetterRetry(at=at(10), subject="ann", error="still broken")],
)


def test_dead_letters_are_listed_as_an_operator_and_by_filter(operator: Run, services: Services) -> None:
    """With everything that tells one from another."""
    services.answers["ListDeadLetters"] = delivery_pb2.ListDeadLettersResponse(dead_letters=[LETTER])
    since = ("--since", "2025-11-03T09:00Z", "--until", "2025-11-03T10:00Z")
    result = operator("dead-letters", "list", "--stream", "firings", "--error", "Decode", *since, "--taken-in")
    assert result.exit_code == 0, result.output
    for text in (ID, "FIRINGS", "2025-11-03 09:00:00Z", "DecodeError: [broken]"):
        assert text in result.stdout
    wanted = delivery_pb2.ListDeadLettersRequest(
        stream="FIRINGS", error="Decode", since=at(9), until=at(10), with_taken_in=True, page_size=50
    )
    assert services.asked == [wanted]
    assert services.callers[0].scopes == {Scope.ADMIN}


def test_one_dead_letter_is_shown_with_what_it_says_and_its_history(operator: Run, services: Services) -> None:
    """As JSON where it can be read, in hexadecimal otherwise or when asked for."""
    services.answers["GetDeadLetter"] = delivery_pb2.GetDeadLetterResponse(dead_letter=LETTER)
    result = operator("dead-letters", "show", ID)
    for text in ('{"id": "x"}', "still broken", "ann", "2025-11-03 10:00:00Z"):
        assert text in result.stdout, result.output
    assert "01 ab ff" in operator("dead-letters", "show", ID, "--raw").stdout
    services.answers["GetDeadLetter"] = not_found("dead letter")
    result = operator("dead-letters", "show", ID)
    assert (result.exit_code, "not_found" in result.output) == (1, True)


def test_named_dead_letters_are_tried_again_and_the_command_fails_with_them(operator: Run, services: Services) -> None:
    """So that a script sees it."""
    results = [
        delivery_pb2.DeadLetterResult(id=ID, taken_in=True),
        delivery_pb2.DeadLetterResult(id=OTHER, error="still broken"),
    ]
    services.answers["RetryDeadLetters"] = delivery_pb2.RetryDeadLettersResponse(results=results)
    result = operator("dead-letters", "retry", ID, OTHER)
    assert result.exit_code == 1
    assert "taken in" in result.stdout
    assert "still broken" in result.stdout
    services.answers["RetryDeadLetters"] = delivery_pb2.RetryDeadLettersResponse(results=results[:1], more=True)
    result = operator("dead-letters", "retry", "--stream", "receipts")
    assert (result.exit_code, "run it again" in result.stdout) == (0, True)
    operator("dead-letters", "retry", "--all")
    by_stream = delivery_pb2.DeadLetterFilter(stream="RECEIPTS")
    assert services.asked == [
        delivery_pb2.RetryDeadLettersRequest(ids=[ID, OTHER]),
        delivery_pb2.RetryDeadLettersRequest(filter=by_stream),
        delivery_pb2.RetryDeadLettersRequest(filter=delivery_pb2.DeadLetterFilter()),
    ]
    assert services.asked[-1].HasField("filter")


@pytest.mark.parametrize("arguments", [(), (ID, "--all"), (ID, "--stream", "FIRINGS")])
def test_a_retry_of_nothing_or_of_two_things_is_refused(
    operator: Run, services: Services, arguments: tuple[str, ...]
) -> None:
    """Nobody takes all in by forgetting an argument."""
    result = operator("dead-letters", "retry", *arguments)
    assert result.exit_code == 2
    assert services.asked == []


def test_failed_deliveries_are_tried_again_until_none_is_left(operator: Run, services: Services) -> None:
    """A thousand a call."""
    left = [
        delivery_pb2.RetryFailedDeliveriesResponse(retried=1000, more=True),
        delivery_pb2.RetryFailedDeliveriesResponse(retried=7),
    ]
    services.answers["RetryFailedDeliveries"] = lambda _: left.pop(0)
    wanted = ("--channel", "email", "--status", "failed", "--provider", "sendgrid", "--error", "550", "--partner", "7")
    result = operator("deliveries", "retry-failed", "--since", "2025-11-03T09:00Z", *wanted)
    assert (result.exit_code, "1007 deliveries" in result.stdout) == (0, True), result.output
    request = delivery_pb2.RetryFailedDeliveriesRequest(
        partner_id=7,
        channel=types_pb2.CHANNEL_EMAIL,
        status=delivery_pb2.DELIVERY_STATUS_FAILED,
        provider="sendgrid",
        error="550",
        failed_since=at(9),
    )
    assert services.asked == [request, request]
    assert operator("deliveries", "retry-failed").exit_code == 2, "since when"


def test_those_that_cannot_be_tried_end_the_command(operator: Run, services: Services) -> None:
    """It does not ask for ever."""
    services.answers["RetryFailedDeliveries"] = delivery_pb2.RetryFailedDeliveriesResponse(more=True)
    assert operator("deliveries", "retry-failed", "--since", "2h").exit_code == 0
    assert len(services.asked) == 1


def test_a_timeline_is_told_in_order_with_what_the_provider_said(operator: Run, services: Services) -> None:
    """Its sentences as they are, and as JSON for programs."""
    attempt = delivery_pb2.Attempt(number=1, provider="sendgrid", status_code="202", answer="[ok]")
    entries = [
        notification_pb2.TimelineEntry(at=at(9), text='Your alert "Rent" was triggered.'),
        notification_pb2.TimelineEntry(
            at=at(10),
            text="Our e-mail provider took the e-mail.",
            channel=types_pb2.CHANNEL_EMAIL,
            attempt=attempt,
        ),
    ]
    services.answers["GetTimeline"] = notification_pb2.GetTimelineResponse(entries=entries)
    result = operator("timeline", ID, "--partner", "7")
    lines = result.stdout.splitlines()
    assert 'Your alert "Rent" was triggered.' in lines[1], result.output
    assert "email" in lines[2]
    assert "sendgrid 202 [ok]" in lines[2]
    assert services.asked == [notification_pb2.GetTimelineRequest(id=ID, partner_id=7)]
    shown = json.loads(operator("timeline", ID, "--partner", "7", "--json").stdout)
    assert [one["text"] for one in shown["entries"]] == [one.text for one in entries]
    assert operator("timeline", ID).exit_code == 2, "which bank's"
