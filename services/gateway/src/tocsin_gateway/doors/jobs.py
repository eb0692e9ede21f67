"""The gateway's jobs: `gateway.audit` and `gateway.retention`."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import grpc

from tocsin.notifications.v1 import delivery_pb2, delivery_pb2_grpc
from tocsin_gateway.callbacks.handing_on import audit, forget_old
from tocsin_gateway.store.ledger import CallbackLedger
from tocsin_kit.clock import Clock
from tocsin_kit.messaging.jobs import Handler, JobFailure, JobOrder, Progress
from tocsin_kit.rpc.errors import from_rpc_error


def handlers(
    ledger: CallbackLedger, dispatcher: grpc.aio.Channel, *, clock: Clock, kept: timedelta
) -> Mapping[str, Handler]:
    """What does each type of job. `dispatcher`: a channel that carries our own token."""
    deliveries = delivery_pb2_grpc.DeliveryServiceStub(dispatcher)

    async def find_unknown(ids: Sequence[UUID]) -> Sequence[UUID]:
        request = delivery_pb2.FindUnknownCallbacksRequest(callback_ids=[str(id_) for id_ in ids])
        answer = await deliveries.FindUnknownCallbacks(request)
        return [UUID(id_) for id_ in answer.unknown_callback_ids]

    async def audit_callbacks(_order: JobOrder, _progress: Progress) -> dict[str, int]:
        try:
            audited = await audit(ledger, find_unknown, clock.now())
        except grpc.aio.AioRpcError as error:
            told = from_rpc_error(error)
            raise JobFailure(f"the dispatcher: {told.message}", retryable=told.retrying_can_help) from error
        return {"asked": audited.asked, "handed_on_again": audited.handed_on_again}

    async def forget_callbacks(_order: JobOrder, _progress: Progress) -> dict[str, int]:
        return {"callbacks": await forget_old(ledger, clock.now(), kept)}

    return {"gateway.audit": audit_callbacks, "gateway.retention": forget_callbacks}
