"""Which fields an update writes."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from tocsin_dispatcher.doors.masks import written
from tocsin_kit.rpc.errors import TocsinError

FIELDS, OUTPUT_ONLY = ("hide_amounts", "quiet_hours.start", "quiet_hours.end"), ("email",)


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        ([], set(FIELDS)),  # PUT
        (["hide_amounts"], {"hide_amounts"}),
        (["quiet_hours"], {"quiet_hours.start", "quiet_hours.end"}),
        (["quiet_hours.end"], {"quiet_hours.end"}),
        (["email"], set()),  # output only: ignored, and no PUT
        (["email.suppressed", "hide_amounts"], {"hide_amounts"}),
    ],
)
def test_a_mask_names_what_is_written(paths: list[str], wanted: set[str]) -> None:
    assert written(FieldMask(paths=paths), FIELDS, OUTPUT_ONLY) == wanted


@pytest.mark.parametrize("path", ["nothing", "hide_amounts.more", "quiet", "emails"])
def test_an_unknown_path_is_refused_by_its_name(path: str) -> None:
    with pytest.raises(TocsinError, match=path):
        written(FieldMask(paths=[path]), FIELDS, OUTPUT_ONLY)
