"""Callbacks as messages for RECEIPTS."""

from tocsin.events.v1 import events_pb2
from tocsin_gateway.store.callbacks import Callback
from tocsin_kit.messaging.publisher import Outgoing
from tocsin_kit.telemetry.propagation import traceparent_of, tracestate_of

#: Receipts are as urgent as what they are about: they travel in the first lane.
_LANE = "realtime"


def receipt(callback: Callback) -> Outgoing:
    """The message that hands a callback on, part of the current trace.

    Its id is the callback's; handed on again it has a new one, for the broker would drop a repetition.
    """
    again = callback.handed_on_times - 1
    message = events_pb2.Callback(
        id=callback.id.bytes,
        provider=callback.provider,
        url=callback.url,
        content_type=callback.headers.get("content-type", ""),
        body=callback.body,
    )
    message.received_at.FromDatetime(callback.received_at)
    return Outgoing(
        work_class=_LANE,
        subject=f"tocsin.receipts.{callback.provider}",
        message_id=f"{callback.id}:{again}" if again else str(callback.id),
        payload=message.SerializeToString(),
        traceparent=traceparent_of(),
        tracestate=tracestate_of(),
    )
