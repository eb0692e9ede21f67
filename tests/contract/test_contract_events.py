"""Events only grow: bytes recorded with a released contract still decode to what they meant.

`recorded_events/<version>/<message>.binpb` holds the bytes, the `.json` beside it what they mean. Records of a released
version are never changed; a new version adds a folder.
"""

import json
from pathlib import Path

import pytest
from google.protobuf import json_format, unknown_fields
from google.protobuf.message import Message

from tocsin.events.v1 import events_pb2

RECORDED = sorted(Path(__file__).parent.glob("recorded_events/*/*.binpb"))
EVENTS: tuple[type[Message], ...] = (
    events_pb2.Firing,
    events_pb2.Profile,
    events_pb2.Job,
    events_pb2.JobEvent,
    events_pb2.Callback,
    events_pb2.DeliveryEvent,
    events_pb2.InboxChanged,
)


@pytest.mark.parametrize("record", RECORDED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recorded_event_still_means_what_it_meant(record: Path) -> None:
    shape = next(shape for shape in EVENTS if shape.DESCRIPTOR.name == record.stem)
    message = shape.FromString(record.read_bytes())
    assert len(unknown_fields.UnknownFieldSet(message)) == 0
    meaning = json_format.MessageToDict(message, preserving_proto_field_name=True)
    assert meaning == json.loads(record.with_suffix(".json").read_text())


def test_every_event_is_recorded_with_the_first_version() -> None:
    recorded = {record.stem for record in RECORDED if record.parent.name == "0.1"}
    assert recorded == {shape.DESCRIPTOR.name for shape in EVENTS}
