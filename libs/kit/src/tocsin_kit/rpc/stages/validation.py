"""The rules written in the protos (protovalidate), the same for every way in."""

from __future__ import annotations

from google.protobuf.message import Message
from protovalidate import FieldPathElementPb, FieldPathPb, Validator, Violation

from tocsin_kit.rpc.errors import FieldViolation, invalid_fields
from tocsin_kit.rpc.stages.stage import Call, Proceed


class Validation:
    """Refuses a request that breaks a rule of its message."""

    def __init__(self) -> None:
        self._validator = Validator()

    async def __call__(self, call: Call, proceed: Proceed) -> Message:
        """The answer. Raises invalid_field naming every field that is wrong."""
        if found := self.violations_of(call.request):
            raise invalid_fields(found)
        return await proceed()

    def violations_of(self, message: Message) -> list[FieldViolation]:
        """What is wrong with `message` by the rules of its own proto; for batches whose items are judged one by one."""
        return [_told(violation) for violation in self._validator.collect_violations(message)]


def _told(violation: Violation) -> FieldViolation:
    proto = violation.proto
    return FieldViolation(_path(proto.field), proto.message or proto.rule_id or "is not valid")


def _path(path: FieldPathPb | None) -> str:
    """`transactions[3].amount`; empty for a rule on the whole message."""
    return ".".join(_step(element) for element in path.elements) if path is not None else ""


def _step(element: FieldPathElementPb) -> str:
    inside = element.subscript
    return element.field_name if inside is None else f"{element.field_name}[{inside.value}]"
