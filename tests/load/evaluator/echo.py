"""A bare gRPC server that answers each PostTransactions with its request: what no ingest of one can be faster than."""

import asyncio
import sys
from collections.abc import Callable

import grpc

from tocsin.alerts.v1 import fact_pb2

METHOD = "/echo/PostTransactions"

Request = fact_pb2.PostTransactionsRequest
Context = grpc.aio.ServicerContext[Request, Request]


async def _echo(request: Request, context: Context) -> Request:
    return request


class _Echo(grpc.GenericRpcHandler):
    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Request, Request] | None":
        serialise: Callable[[Request], bytes] = Request.SerializeToString
        return grpc.unary_unary_rpc_method_handler(_echo, Request.FromString, serialise)


async def serve(port: int) -> None:
    """Serve on 127.0.0.1 until the process is ended."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Echo(),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
