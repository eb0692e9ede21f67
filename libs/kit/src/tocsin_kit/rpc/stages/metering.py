"""Rate, errors and duration of each RPC."""

from __future__ import annotations

import asyncio
from time import perf_counter

import grpc
from google.protobuf.message import Message

from tocsin_kit.rpc.errors import TocsinError
from tocsin_kit.rpc.stages.stage import Call, Proceed
from tocsin_kit.telemetry.metrics import Metrics, exemplar


class Metering:
    """Counts each call once, under the status it ended with."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def __call__(self, call: Call, proceed: Proceed) -> Message:
        """The answer, counted."""
        began, code = perf_counter(), grpc.StatusCode.UNKNOWN
        try:
            answer = await proceed()
            code = grpc.StatusCode.OK
            return answer
        except TocsinError as error:
            code = error.code
            raise
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        finally:
            service, method = call.method.service, call.method.name
            self._metrics.rpc_requests.labels(service, method, code.name).inc()
            self._metrics.rpc_duration.labels(service, method).observe(perf_counter() - began, exemplar())
