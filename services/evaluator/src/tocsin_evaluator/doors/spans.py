"""Spans of time as requests say them."""

from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from tocsin_kit.rpc.errors import invalid_field

#: Nobody's facts are older; what is subtracted from later instants stays within the calendar.
_EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)


def span_of(
    since_stamp: Timestamp | None,
    until_stamp: Timestamp | None,
    now: datetime,
    *,
    default: timedelta,
    longest: timedelta,
) -> tuple[datetime, datetime]:
    """Since when and until when: by default `default` long and up to now, never later, at most `longest`.

    Raises invalid_field.
    """
    until = now if until_stamp is None else min(instant_of(until_stamp, "until"), now)
    if until < _EARLIEST + longest:
        raise invalid_field("until", "is too long ago")
    since = until - default if since_stamp is None else instant_of(since_stamp, "since")
    if since >= until:
        raise invalid_field("since", "must be before until, and in the past")
    if until - since > longest:
        raise invalid_field("since", f"must be at most {longest.days} days before until")
    return since, until


def instant_of(stamp: Timestamp, field: str) -> datetime:
    """The instant of a stamp. Raises invalid_field."""
    try:
        return stamp.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise invalid_field(field, "is no instant") from None
