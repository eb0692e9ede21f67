"""From a REST request to the RPC's request message: body, path, query and the headers that stand for fields.

Everything is put together as JSON first and read once by the compiled reader, so that each complaint names its field
in the same way wherever the value came from: by its path in the request message, as the services' own complaints do.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tocsin_gateway.transcoding.codec import Codec, parse
from tocsin_gateway.transcoding.fields import FIELD_MASK, REQUEST_ID, mask_of, values_below
from tocsin_gateway.transcoding.routes import WHOLE_REQUEST, Match, Route
from tocsin_gateway.transcoding.values import InvalidValue, Json

JsonObject = dict[str, Json]


@dataclass(frozen=True)
class RestRequest:
    """What of an HTTP request becomes the RPC's request. `query` in the order given, percent-decoded."""

    query: Iterable[tuple[str, str]]
    body: bytes
    idempotency_key: str | None


@dataclass(frozen=True)
class _Shape:
    """What one route takes from where, worked out once."""

    message: type[Message]
    query: Mapping[str, FieldDescriptor]
    mask: str | None
    takes_request_id: bool


class RequestReader:
    """Builds request messages; compiled per route on first use."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._shapes: dict[Route, _Shape] = {}

    def read(self, match: Match, request: RestRequest) -> Message:
        """The request message; InvalidValue names what does not fit."""
        route = match.route
        shape = self._shapes.get(route)
        if shape is None:
            shape = self._shapes[route] = _shape(route)
        fields = _body(route, shape, request.body)
        for name, value in _query(shape, request.query):
            _put(fields, name, value)
        for name, text in match.variables.items():
            _put(fields, name, text)
        if shape.takes_request_id and request.idempotency_key is not None:
            fields[REQUEST_ID] = request.idempotency_key
        return self._codec.from_json(shape.message, fields)


def query_fields(route: Route) -> dict[str, FieldDescriptor]:
    """The query parameters of a route: all request fields that neither path, body nor a header carries."""
    if route.body == WHOLE_REQUEST:
        return {}
    taken = {*route.variables, REQUEST_ID}
    return {
        path: field
        for path, field in values_below(route.request)
        if path not in taken
        and path.partition(".")[0] != route.body
        and not (field.message_type is not None and field.message_type.full_name == FIELD_MASK)
    }


def mask_field(message: Descriptor) -> str | None:
    """The request's field mask, if it has one."""
    names = [
        field.name
        for field in message.fields
        if field.message_type is not None and field.message_type.full_name == FIELD_MASK
    ]
    return names[0] if names else None


def _shape(route: Route) -> _Shape:
    return _Shape(
        message=GetMessageClass(route.request),
        query=query_fields(route),
        mask=mask_field(route.request) if route.verb == "patch" else None,
        takes_request_id=REQUEST_ID in route.request.fields_by_name,
    )


def _body(route: Route, shape: _Shape, body: bytes) -> JsonObject:
    given: Json = parse(body) if body.strip() else {}
    if route.body == WHOLE_REQUEST:
        return dict(_object(given))
    if route.body_field is None:
        if given != {}:
            raise InvalidValue("takes no body")
        return {}
    fields: JsonObject = {route.body: given}
    if shape.mask is not None and route.body_field.message_type is not None:
        paths = mask_of(route.body_field.message_type, _object(given))
        if not paths:
            # An empty mask means "replace": a PATCH that names nothing must not wipe everything.
            raise InvalidValue("must name at least one field to change", route.body)
        fields[shape.mask] = ",".join(paths)
    return fields


def _object(value: Json) -> Mapping[str, Json]:
    if not isinstance(value, Mapping):
        raise InvalidValue("must be an object")
    return value


def _query(shape: _Shape, query: Iterable[tuple[str, str]]) -> Iterable[tuple[str, Json]]:
    lists: dict[str, list[Json]] = {}
    singles: dict[str, Json] = {}
    for name, text in query:
        field = shape.query.get(name)
        if field is None:
            raise InvalidValue("is not a parameter here", name)
        value = _from_text(field, text)
        if field.is_repeated:
            lists.setdefault(name, []).append(value)
        elif name in singles:
            raise InvalidValue("is there twice", name)
        else:
            singles[name] = value
    return [*singles.items(), *lists.items()]


def _from_text(field: FieldDescriptor, text: str) -> Json:
    """Readers take numbers, enums and instants as text; only flags are never text in JSON."""
    if field.type == FieldDescriptor.TYPE_BOOL and text in ("true", "false"):
        return text == "true"
    return text


def _put(fields: JsonObject, path: str, value: Json) -> None:
    *outer, last = path.split(".")
    for name in outer:
        inner = fields.get(name)
        inner = dict(inner) if isinstance(inner, Mapping) else {}
        fields[name] = inner
        fields = inner
    fields[last] = value
