"""The REST API: one handler for every RPC that has an HTTP option."""

import asyncio
from datetime import timedelta

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tocsin_gateway.entrance.bodies import read_body
from tocsin_gateway.entrance.callers import Admitted, Door
from tocsin_gateway.entrance.frame import note_route
from tocsin_gateway.entrance.problems import from_invalid_value, problem
from tocsin_gateway.transcoding.answers import RestAnswer, answer_of, response_type
from tocsin_gateway.transcoding.calls import Call
from tocsin_gateway.transcoding.codec import Codec
from tocsin_gateway.transcoding.requests import RequestReader, RestRequest
from tocsin_gateway.transcoding.routes import Match, NoSuchPath, NoSuchVerb, Route, RouteTable
from tocsin_gateway.transcoding.values import InvalidValue
from tocsin_kit.rpc.errors import Reason, TocsinError, invalid_field, not_found

DEFAULT_LIMIT, LONGEST_LIMIT = timedelta(seconds=10), timedelta(seconds=30)
MEBIBYTE = 1024 * 1024
INGEST = "/api/v2/ingest"


class RestApi:
    """Serves the route table."""

    def __init__(self, table: RouteTable, codec: Codec, door: Door, call: Call) -> None:
        self._table, self._codec, self._door, self._call = table, codec, door, call
        self._reader = RequestReader(codec)

    async def __call__(self, request: Request) -> Response:
        """The answer, also to what is wrong."""
        try:
            match = self._match(request)
            note_route(request.scope, match.route.path)
            admitted = await self._door.admit(request)
            limit = _limit(request)
            async with asyncio.timeout(limit.total_seconds()):
                answer = await self._answer(match, request, admitted, limit)
        except NoSuchVerb as error:
            allowed = {"Allow": ", ".join(error.allowed)}
            return problem(not_found(f"{request.method} of this path"), 405, allowed)
        except InvalidValue as error:
            return problem(from_invalid_value(error))
        except TimeoutError:
            return problem(TocsinError("it took too long", Reason.DEADLINE_EXCEEDED))
        except ClientDisconnect:
            return Response(status_code=499)  # nobody hears it; the metrics do (nginx's number for it)
        except TocsinError as error:
            return problem(error)
        media_type = "application/json" if answer.body else None
        return Response(answer.body, answer.status, media_type=media_type)

    def _match(self, request: Request) -> Match:
        raw_path: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
        verb = "get" if request.method == "HEAD" else request.method.lower()
        try:
            return self._table.match(verb, raw_path.partition(b"?")[0].decode("latin-1"))
        except NoSuchPath as error:
            raise not_found("the path") from error

    async def _answer(self, match: Match, request: Request, admitted: Admitted, limit: timedelta) -> RestAnswer:
        route = match.route
        body = await read_body(request, 8 * MEBIBYTE if _takes_batches(route) else MEBIBYTE)
        given = RestRequest(
            query=request.query_params.multi_items(),
            body=body,
            idempotency_key=request.headers.get("idempotency-key"),
        )
        message = self._reader.read(match, given)
        response = await self._call(
            route.rpc,
            message,
            response_type(route),
            token=admitted.token,
            acting_for=_acting_for(request),
            limit=limit,
        )
        return answer_of(self._codec, route, response)


def _takes_batches(route: Route) -> bool:
    return route.path.startswith(INGEST)


def _acting_for(request: Request) -> str | None:
    user = request.headers.get("tocsin-user")
    if user is not None and not (user.isascii() and user.removeprefix("-").isdecimal()):
        raise invalid_field("Tocsin-User", "must be a user's id")
    return user


def _limit(request: Request) -> timedelta:
    """How long the caller waits: `Request-Timeout` in seconds, at most 30; 10 without it."""
    given = request.headers.get("request-timeout")
    if given is None:
        return DEFAULT_LIMIT
    if not (given.isascii() and given.replace(".", "", 1).isdecimal() and float(given) > 0):
        raise invalid_field("Request-Timeout", "must be a number of seconds above 0")
    return min(timedelta(seconds=min(float(given), 1e6)), LONGEST_LIMIT)
