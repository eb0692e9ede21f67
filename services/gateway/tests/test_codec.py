"""The compiled codec says what google.protobuf.json_format says, apart from the contract's own rules."""

import json
import math
import time
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.alerts.v1 import alert_pb2
from tocsin.jobs.v1 import job_pb2
from tocsin.notifications.v1 import delivery_pb2, notification_pb2, preference_pb2
from tocsin.types.v1 import types_pb2
from tocsin_gateway.transcoding.codec import Codec
from tocsin_gateway.transcoding.values import InvalidValue

CODEC = Codec()
ENUM_PREFIXES = (
    "ALERT_TYPE_",
    "CHANNEL_",
    "DELIVERY_STATUS_",
    "DELIVERY_REASON_",
    "THRESHOLD_DIRECTION_",
    "JOB_STATE_",
    "WORK_CLASS_",
)
# The library's JSON does not tell an enum's name from a text that looks like one.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(
    lambda text: not text.startswith(ENUM_PREFIXES)
)
INT64 = st.integers(-(2**63), 2**63 - 1)
INT32 = st.integers(-(2**31), 2**31 - 1)


@st.composite
def instants(draw: st.DrawFn) -> Timestamp:
    """Any instant that protobuf's Timestamp can hold."""
    nanos = st.one_of(st.just(0), st.integers(0, 999_999_999), st.integers(0, 999).map(lambda n: n * 10**6))
    return Timestamp(seconds=draw(st.integers(-62_135_596_800, 253_402_300_799)), nanos=draw(nanos))


@st.composite
def spans(draw: st.DrawFn) -> Duration:
    """Any span that protobuf's Duration can hold."""
    sign = draw(st.sampled_from([1, -1]))
    seconds = draw(st.integers(0, 315_576_000_000))
    return Duration(seconds=sign * seconds, nanos=sign * draw(st.integers(0, 999_999_999)))


@st.composite
def notifications(draw: st.DrawFn) -> Message:
    """Notifications with every sort of field: strings, int64, enums, messages, a oneof and lists."""
    context = types_pb2.FiringContext(
        account_threshold=types_pb2.AccountThresholdContext(
            account_id=draw(INT64),
            account=draw(TEXT),
            direction=draw(st.sampled_from(types_pb2.ThresholdDirection.values())),
            as_of=draw(instants()),
        )
    )
    return notification_pb2.Notification(
        id=draw(TEXT),
        alert_id=draw(INT64),
        alert_type=draw(st.sampled_from(types_pb2.AlertType.values())),
        message=draw(TEXT),
        metadata=draw(st.sampled_from([context, None])),
        critical=draw(st.booleans()),
        created_at=draw(instants()),
        read_at=draw(st.one_of(st.none(), instants())),
        deliveries=[
            notification_pb2.NotificationDelivery(
                channel=draw(st.sampled_from(types_pb2.Channel.values())), due_at=draw(instants())
            )
            for _ in range(draw(st.integers(0, 3)))
        ],
        version=draw(INT64),
    )


@st.composite
def jobs(draw: st.DrawFn) -> Message:
    """Jobs: maps of strings and of int64."""
    return job_pb2.Job(
        args=draw(st.dictionaries(TEXT, TEXT, max_size=3)),
        result=draw(st.dictionaries(TEXT, INT64, max_size=3)),
        attempt=draw(INT32),
        progress=draw(st.one_of(st.none(), st.builds(job_pb2.Progress, done=INT64, total=INT64))),
    )


@st.composite
def stats(draw: st.DrawFn) -> Message:
    """Spans and floating point numbers, the odd ones included."""
    return job_pb2.JobTypeStats(
        oldest_queued_age=draw(spans()), failure_rate=draw(st.floats(allow_nan=False) | st.just(math.nan))
    )


@st.composite
def alerts(draw: st.DrawFn) -> Message:
    """Optional fields: set to their zero, set to something, or not set."""
    flag = st.one_of(st.none(), st.booleans())
    return alert_pb2.Alert(
        name=draw(TEXT),
        active=draw(flag),
        critical=draw(flag),
        cooldown=draw(st.one_of(st.none(), spans())),
        goal=alert_pb2.GoalCondition(goal_id=draw(INT64), milestones=draw(st.lists(INT32, max_size=4))),
    )


ANY_MESSAGE = st.one_of(notifications(), jobs(), stats(), alerts())


@settings(max_examples=300, deadline=None)
@given(ANY_MESSAGE)
def test_what_is_written_reads_as_the_same_message(message: Message) -> None:
    read = CODEC.decode(type(message), CODEC.encode(message))
    assert read.SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)


@settings(max_examples=300, deadline=None)
@given(ANY_MESSAGE)
def test_what_the_library_writes_is_read_as_the_library_reads_it(message: Message) -> None:
    printed = json_format.MessageToJson(message, preserving_proto_field_name=True, indent=None).encode()
    read = CODEC.decode(type(message), printed)
    assert read.SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)


@settings(max_examples=300, deadline=None)
@given(ANY_MESSAGE)
def test_what_is_written_differs_from_the_library_in_enums_only(message: Message) -> None:
    theirs = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    assert json.loads(CODEC.encode(message)) == _in_our_words(theirs)


def _in_our_words(value: Any) -> Any:
    """The library's JSON with the contract's words for enums, those that say nothing left out."""
    if isinstance(value, dict):
        said = {name: _in_our_words(inner) for name, inner in value.items()}
        return {name: inner for name, inner in said.items() if inner is not ...}
    if isinstance(value, list):
        return [_in_our_words(inner) for inner in value]
    for prefix in ENUM_PREFIXES:
        if isinstance(value, str) and value.startswith(prefix):
            return ... if value.endswith("_UNSPECIFIED") else value.removeprefix(prefix).lower()
    return value


@pytest.mark.parametrize("word", ["below", "THRESHOLD_DIRECTION_BELOW", 1])
def test_an_enum_is_read_in_both_forms(word: object) -> None:
    body = json.dumps({"direction": word}).encode()
    assert CODEC.decode(types_pb2.AccountThresholdContext, body).direction == types_pb2.THRESHOLD_DIRECTION_BELOW


REFUSED = [
    # type, body, the field that is named, a part of what is said
    (alert_pb2.Alert, b"[]", "", "must be an object"),
    (alert_pb2.Alert, b"{", "", "no JSON"),
    (alert_pb2.Alert, b'{"name":"\\ud800"}', "", "no JSON"),
    (alert_pb2.Alert, b"[" * 5000, "", "no JSON"),
    (alert_pb2.Alert, b'{"nam":"x"}', "nam", "not a field"),
    (alert_pb2.Alert, b'{"name":7}', "name", "string"),
    (alert_pb2.Alert, b'{"active":"yes"}', "active", "true or false"),
    (alert_pb2.Alert, b'{"id":"seven"}', "id", "whole number"),
    (alert_pb2.Alert, b'{"id":true}', "id", "whole number"),
    (alert_pb2.Alert, b'{"id":1.5}', "id", "whole number"),
    (alert_pb2.Alert, b'{"id":"9223372036854775808"}', "id", "from"),
    (alert_pb2.Alert, b'{"cooldown":"6h"}', "cooldown", "seconds"),
    (alert_pb2.Alert, b'{"snoozed_until":"tomorrow"}', "snoozed_until", "instant"),
    (alert_pb2.Alert, b'{"snoozed_until":"2025-02-30T00:00:00Z"}', "snoozed_until", "instant"),
    (alert_pb2.Alert, b'{"snoozed_until":"0001-01-01T00:00:00+01:00"}', "snoozed_until", "years"),
    (alert_pb2.Alert, b'{"goal":[]}', "goal", "object"),
    (alert_pb2.Alert, b'{"goal":{"milestones":[25,"x"]}}', "goal.milestones[1]", "whole number"),
    (alert_pb2.Alert, b'{"goal":{"milestones":{}}}', "goal.milestones", "list"),
    (alert_pb2.Alert, b'{"account_threshold":{"direction":"sideways"}}', "account_threshold.direction", "below, above"),
    (alert_pb2.Alert, b'{"goal":{},"upcoming_bill":{}}', "upcoming_bill", "together with goal"),
    (job_pb2.Job, b'{"result":{"n":"x"}}', "result.n", "whole number"),
    (preference_pb2.Preferences, b'{"overrides":[{"enabled":0}]}', "overrides[0].enabled", "true or false"),
]


@pytest.mark.parametrize(("kind", "body", "field", "said"), REFUSED)
def test_what_does_not_fit_is_refused_by_the_name_of_its_field(
    kind: type[Message], body: bytes, field: str, said: str
) -> None:
    with pytest.raises(InvalidValue) as refused:
        CODEC.decode(kind, body)
    assert (refused.value.field, said in refused.value.description) == (field, True), refused.value.description


def test_null_is_the_same_as_leaving_out() -> None:
    assert CODEC.decode(alert_pb2.Alert, b'{"active":null,"goal":null}') == alert_pb2.Alert()


def codec_ratios(rounds: int = 30) -> dict[str, float]:
    """How many times as fast as json_format the codec is, on a page of 50 notifications: the best of `rounds` each.

    Both write the same fields (`always_print_fields_with_no_presence`) without indentation; the runs alternate, so
    that a busy machine slows both.
    """
    page = notification_pb2.ListNotificationsResponse(notifications=[_notification(number) for number in range(50)])
    body = CODEC.encode(page)
    theirs = json_format.MessageToJson(page, preserving_proto_field_name=True, indent=None)
    runs: dict[str, Callable[[], object]] = {
        "ours_writing": lambda: CODEC.encode(page),
        "theirs_writing": lambda: json_format.MessageToJson(
            page, preserving_proto_field_name=True, indent=None, always_print_fields_with_no_presence=True
        ).encode(),
        "ours_reading": lambda: CODEC.decode(notification_pb2.ListNotificationsResponse, body),
        "theirs_reading": lambda: json_format.Parse(theirs, notification_pb2.ListNotificationsResponse()),
    }
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - began)
    return {way: best[f"theirs_{way}"] / best[f"ours_{way}"] for way in ("writing", "reading")}


def _notification(number: int) -> notification_pb2.Notification:
    context = types_pb2.AccountThresholdContext(
        account_id=7,
        account="Checking",
        balance="10.00",
        threshold="50.00",
        currency="USD",
        direction=types_pb2.THRESHOLD_DIRECTION_BELOW,
    )
    return notification_pb2.Notification(
        id=f"0190c3f2-0000-7000-8000-{number:012d}",
        alert_id=number,
        alert_type=types_pb2.ALERT_TYPE_ACCOUNT_THRESHOLD,
        title="Low balance: Checking",
        message="Checking is at $10.00, below $50.00.",
        action_url="https://bank.example/accounts/7",
        metadata=types_pb2.FiringContext(account_threshold=context),
        created_at=Timestamp(seconds=1_762_000_000 + number * 61, nanos=123_456_000),
        deliveries=[
            notification_pb2.NotificationDelivery(
                channel=channel,
                status=delivery_pb2.DELIVERY_STATUS_SENT,
                created_at=Timestamp(seconds=1_762_000_000 + number),
            )
            for channel in (types_pb2.CHANNEL_EMAIL, types_pb2.CHANNEL_IN_APP)
        ],
        version=number,
    )


def test_it_is_three_times_as_fast_as_the_library() -> None:
    ratios = codec_ratios()
    assert all(ratio >= 3 for ratio in ratios.values()), ratios
