"""Words of the contract to ours and back: each enum by its name without prefix, where the two agree."""

from enum import StrEnum
from typing import TypeVar

from tocsin.alerts.v1 import alert_pb2, evaluation_pb2, fact_pb2
from tocsin.types.v1 import types_pb2
from tocsin_evaluator.model.explanation import Quiet, WhyNot
from tocsin_evaluator.model.words import Channel, KindName, Reason, Way, WorkClass

Word = TypeVar("Word", bound=StrEnum)

ALERT_TYPES: dict[KindName, types_pb2.AlertType.ValueType] = {
    kind: types_pb2.AlertType.Value(f"ALERT_TYPE_{kind.name}") for kind in KindName
}
KINDS = {number: kind for kind, number in ALERT_TYPES.items()}
WORK_CLASSES: dict[str, types_pb2.WorkClass.ValueType] = {
    each.value: types_pb2.WorkClass.Value(f"WORK_CLASS_{each.name}") for each in WorkClass
}
CHANNELS: dict[Channel, types_pb2.Channel.ValueType] = {
    each: types_pb2.Channel.Value(f"CHANNEL_{each.name}") for each in Channel
}
DIRECTIONS: dict[str, types_pb2.ThresholdDirection.ValueType] = {
    "below": types_pb2.THRESHOLD_DIRECTION_BELOW,
    "above": types_pb2.THRESHOLD_DIRECTION_ABOVE,
}
NOT_FIRED: dict[WhyNot, alert_pb2.NotFiredReason.ValueType] = {
    reason: alert_pb2.NotFiredReason.Value(f"NOT_FIRED_REASON_{reason.name}") for reason in (*Reason, *Quiet)
}
WAY_NUMBERS: dict[Way, evaluation_pb2.EvaluationWay.ValueType] = {
    way: evaluation_pb2.EvaluationWay.Value(f"EVALUATION_WAY_{way.name}") for way in Way
}
WAYS = {number: way for way, number in WAY_NUMBERS.items()}
FACT_TABLES = {
    fact_pb2.FACT_TYPE_ACCOUNT: "accounts",
    fact_pb2.FACT_TYPE_TRANSACTION: "transactions",
    fact_pb2.FACT_TYPE_GOAL: "goals",
    fact_pb2.FACT_TYPE_BUDGET: "budgets",
    fact_pb2.FACT_TYPE_BILL: "bills",
}


def word_of(words: type[Word], name: str, prefix: str, default: Word | None = None) -> Word:
    """The word a proto enum's value names; `default` for the unspecified one.

    Raises ValueError where there is no such word.
    """
    short = name.removeprefix(prefix)
    if short == "UNSPECIFIED" and default is not None:
        return default
    return words(short.lower())
