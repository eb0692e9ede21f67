"""The contract's enums and ours: the same words, led by a prefix there."""

from __future__ import annotations

from tocsin.notifications.v1 import delivery_pb2, suppression_pb2
from tocsin.types.v1 import types_pb2
from tocsin_dispatcher.reasons import Reason, SuppressionCause
from tocsin_dispatcher.states import DeliveryState
from tocsin_dispatcher.values import AlertKind, Channel, Purpose, WorkClass


def kind_of(value: types_pb2.AlertType.ValueType) -> AlertKind:
    """Our kind. Raises ValueError for an unset or unknown one."""
    return AlertKind(types_pb2.AlertType.Name(value).removeprefix("ALERT_TYPE_").lower())


def kind_to_proto(kind: AlertKind) -> types_pb2.AlertType.ValueType:
    """The contract's kind."""
    return types_pb2.AlertType.Value(f"ALERT_TYPE_{kind.upper()}")


def channel_of(value: types_pb2.Channel.ValueType) -> Channel:
    """Our channel. Raises ValueError for an unset or unknown one."""
    return Channel(types_pb2.Channel.Name(value).removeprefix("CHANNEL_").lower())


def channel_to_proto(channel: Channel) -> types_pb2.Channel.ValueType:
    """The contract's channel."""
    return types_pb2.Channel.Value(f"CHANNEL_{channel.upper()}")


def class_of(value: types_pb2.WorkClass.ValueType) -> WorkClass:
    """Our class. Raises ValueError for an unset or unknown one."""
    return WorkClass(types_pb2.WorkClass.Name(value).removeprefix("WORK_CLASS_").lower())


def class_to_proto(work_class: WorkClass) -> types_pb2.WorkClass.ValueType:
    """The contract's class."""
    return types_pb2.WorkClass.Value(f"WORK_CLASS_{work_class.upper()}")


def state_of(value: delivery_pb2.DeliveryStatus.ValueType) -> DeliveryState | None:
    """Our state; None for an unset one."""
    return (
        DeliveryState(delivery_pb2.DeliveryStatus.Name(value).removeprefix("DELIVERY_STATUS_").lower())
        if value
        else None
    )


def state_to_proto(state: DeliveryState) -> delivery_pb2.DeliveryStatus.ValueType:
    """The contract's state."""
    return delivery_pb2.DeliveryStatus.Value(f"DELIVERY_STATUS_{state.upper()}")


def reason_of(value: delivery_pb2.DeliveryReason.ValueType) -> Reason | None:
    """Our reason; None for an unset one."""
    return Reason(delivery_pb2.DeliveryReason.Name(value).removeprefix("DELIVERY_REASON_").lower()) if value else None


def reason_to_proto(reason: Reason | None) -> delivery_pb2.DeliveryReason.ValueType:
    """The contract's reason; unset for none."""
    if reason is None:
        return delivery_pb2.DELIVERY_REASON_UNSPECIFIED
    return delivery_pb2.DeliveryReason.Value(f"DELIVERY_REASON_{reason.upper()}")


def purpose_to_proto(purpose: Purpose) -> delivery_pb2.DeliveryPurpose.ValueType:
    """The contract's purpose."""
    return delivery_pb2.DeliveryPurpose.Value(f"DELIVERY_PURPOSE_{purpose.upper()}")


def cause_of(value: suppression_pb2.SuppressionReason.ValueType) -> SuppressionCause:
    """Our cause. Raises ValueError for an unset or unknown one."""
    return SuppressionCause(suppression_pb2.SuppressionReason.Name(value).removeprefix("SUPPRESSION_REASON_").lower())


def cause_to_proto(cause: SuppressionCause) -> suppression_pb2.SuppressionReason.ValueType:
    """The contract's reason."""
    return suppression_pb2.SuppressionReason.Value(f"SUPPRESSION_REASON_{cause.upper()}")
