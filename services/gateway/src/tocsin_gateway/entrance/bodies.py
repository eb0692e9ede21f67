"""Reading a request's body, never more than allowed."""

from starlette.requests import Request

from tocsin_kit.rpc.errors import Reason, TocsinError


async def read_body(request: Request, at_most: int) -> bytes:
    """The whole body. Raises too_large beyond `at_most` bytes, before reading where the length is announced."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > at_most:
        raise _too_large(at_most)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > at_most:
            raise _too_large(at_most)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(at_most: int) -> TocsinError:
    return TocsinError(f"the body is larger than {at_most} bytes", Reason.TOO_LARGE)
