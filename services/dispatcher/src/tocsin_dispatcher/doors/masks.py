"""Field masks: which of a message's top-level fields an update writes."""

from __future__ import annotations

from collections.abc import Collection

from google.protobuf.field_mask_pb2 import FieldMask

from tocsin_kit.rpc.errors import invalid_field


def written(mask: FieldMask, fields: Collection[str], output_only: Collection[str] = ()) -> frozenset[str]:
    """The paths to write, all of `fields` where the mask is empty (PUT).

    What names an output-only field, or something in one, is ignored. Raises invalid_field for an unknown path.
    """
    if not mask.paths:
        return frozenset(fields)
    for path in mask.paths:
        if path.partition(".")[0] in output_only:
            continue
        if path not in fields and not any(field.startswith(f"{path}.") for field in fields):
            raise invalid_field("update_mask", f"names {path}, which cannot be written")
    return frozenset(
        field for field in fields if any(field == path or field.startswith(f"{path}.") for path in mask.paths)
    )
