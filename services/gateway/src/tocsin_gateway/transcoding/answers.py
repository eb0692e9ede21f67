"""From an RPC's response message to the REST answer's body."""

from dataclasses import dataclass

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tocsin_gateway.transcoding.codec import Codec, text
from tocsin_gateway.transcoding.routes import Route


@dataclass(frozen=True)
class RestAnswer:
    """Status and JSON body (empty for 204)."""

    status: int
    body: bytes


def response_type(route: Route) -> type[Message]:
    """The class of the RPC's response."""
    return GetMessageClass(route.response)


def answer_of(codec: Codec, route: Route, response: Message) -> RestAnswer:
    """The answer: the response, or the one field that `response_body` names."""
    if route.success_status == 204:
        return RestAnswer(204, b"")
    if not route.response_body:
        return RestAnswer(route.success_status, codec.encode(response))
    field = route.response.fields_by_name[route.response_body]
    value = codec.value_to_json(field, getattr(response, field.name))
    return RestAnswer(route.success_status, text(value))
