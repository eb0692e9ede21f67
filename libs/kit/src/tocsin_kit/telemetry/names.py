"""Names of span attributes: OpenTelemetry's semantic conventions and our own, in one place.

Never an address, a person's name, an amount or a token among the values.
"""

from __future__ import annotations

ALERT_KIND = "tocsin.alert.kind"
FIRING_ID = "tocsin.firing.id"
DELIVERY_ID = "tocsin.delivery.id"
JOB_ID = "tocsin.job.id"
JOB_TYPE = "tocsin.job.type"
OUTCOME = "tocsin.outcome"

MESSAGING_SYSTEM = "messaging.system"
MESSAGING_DESTINATION = "messaging.destination.name"
MESSAGING_MESSAGE_ID = "messaging.message.id"
MESSAGING_OPERATION = "messaging.operation.type"
MESSAGING_BATCH_COUNT = "messaging.batch.message_count"

RPC_SYSTEM = "rpc.system"
RPC_SERVICE = "rpc.service"
RPC_METHOD = "rpc.method"
RPC_GRPC_STATUS_CODE = "rpc.grpc.status_code"

HTTP_METHOD = "http.request.method"
HTTP_STATUS = "http.response.status_code"
HTTP_ROUTE = "http.route"
URL = "url.full"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
ERROR_TYPE = "error.type"


def rpc_attributes(service: str, method: str) -> dict[str, str]:
    """What every RPC's span says, on both sides."""
    return {RPC_SYSTEM: "grpc", RPC_SERVICE: service, RPC_METHOD: method}
