"""Which RPC a verb and path call: read from the `google.api.http` options, matched segment by segment.

A literal segment wins over a variable. A variable takes one whole segment and never matches `:`, so that the custom
verb behind it (`/alerts/{id}:retry`) is not mistaken for a part of the id.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor

from tocsin_gateway.transcoding.fields import field_at

_HTTP: Any = annotations_pb2.http  # typed as a plain descriptor by its stubs
VERBS = ("get", "put", "post", "delete", "patch")
WHOLE_REQUEST = "*"


class ContractDefect(Exception):
    """The protos say something about REST that this gateway cannot serve; found at start, never at a request."""


class NoSuchPath(Exception):
    """No route has this path."""


class NoSuchVerb(Exception):
    """The path exists under other verbs only: `allowed`, upper case."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__("the path exists under other verbs")
        self.allowed = allowed


@dataclass(frozen=True)
class Route:
    """One REST binding of one RPC. `body` and `response_body` as in google/api/http.proto."""

    verb: str
    path: str
    method: MethodDescriptor
    segments: tuple[str, ...]
    custom_verb: str
    body: str
    response_body: str

    @property
    def rpc(self) -> str:
        """The RPC's path in gRPC."""
        return f"/{self.method.containing_service.full_name}/{self.method.name}"

    @property
    def request(self) -> Descriptor:
        """The RPC's request message."""
        return self.method.input_type

    @property
    def response(self) -> Descriptor:
        """The RPC's response message."""
        return self.method.output_type

    @property
    def variables(self) -> tuple[str, ...]:
        """Dotted paths of the request fields that the path carries."""
        return tuple(segment[1:-1] for segment in self.segments if _is_variable(segment))

    @property
    def body_field(self) -> FieldDescriptor | None:
        """The request field that the body is; None where it is the whole request or nothing."""
        return None if self.body in ("", WHOLE_REQUEST) else self.request.fields_by_name[self.body]

    @property
    def success_status(self) -> int:
        """201 for Create..., 204 where the response has no field, else 200 (contract, "Conventions")."""
        if not self.response.fields:
            return 204
        return 201 if self.method.name.startswith("Create") else 200


@dataclass(frozen=True)
class Match:
    """A route and what the path says for its variables, percent-decoded."""

    route: Route
    variables: dict[str, str]


@dataclass
class _Node:
    literals: "dict[str, _Node]" = field(default_factory=dict)
    variable: "_Node | None" = None
    routes: dict[tuple[str, str], Route] = field(default_factory=dict)  # by custom verb and HTTP verb


class RouteTable:
    """All routes. Raises ContractDefect when two RPCs claim the same verb and path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._root = _Node()
        for route in self.routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node = self._root
        for segment in route.segments:
            if _is_variable(segment):
                node.variable = node.variable or _Node()
                node = node.variable
            else:
                node = node.literals.setdefault(segment, _Node())
        key = route.custom_verb, route.verb
        if key in node.routes:
            raise ContractDefect(f"{route.rpc} and {node.routes[key].rpc} share {route.verb} {route.path}")
        node.routes[key] = route

    def match(self, verb: str, raw_path: str) -> Match:
        """The route of a request. `raw_path` is percent-encoded: an encoded slash or colon is a part of its segment.

        Raises NoSuchPath and NoSuchVerb.
        """
        *firsts, last = raw_path.split("/")[1:] or [""]
        last, colon, custom_verb = last.partition(":")
        if any(":" in segment for segment in firsts) or ":" in custom_verb or (colon and not custom_verb):
            raise NoSuchPath(raw_path)
        try:
            segments = [unquote(segment, errors="strict") for segment in (*firsts, last)]
        except UnicodeDecodeError as error:
            raise NoSuchPath(raw_path) from error
        allowed: set[str] = set()
        for node in _nodes(self._root, segments, 0):
            route = node.routes.get((custom_verb, verb))
            if route is not None:
                return Match(route, _values(route, segments))
            allowed.update(other.upper() for custom, other in node.routes if custom == custom_verb)
        if allowed:
            raise NoSuchVerb(tuple(sorted(allowed)))
        raise NoSuchPath(raw_path)


def routes_of(services: Iterable[ServiceDescriptor]) -> list[Route]:
    """The routes that the services' `google.api.http` options name, additional bindings included.

    Raises ContractDefect for what cannot be served.
    """
    return [
        route
        for service in services
        for method in service.methods
        if method.GetOptions().HasExtension(_HTTP)
        for route in _bindings(method, method.GetOptions().Extensions[_HTTP])
    ]


def _bindings(method: MethodDescriptor, rule: http_pb2.HttpRule) -> Iterator[Route]:
    verb = rule.WhichOneof("pattern") or ""
    if verb not in VERBS:
        raise ContractDefect(f"{method.full_name} has a rule without a verb that is served")
    path = str(getattr(rule, verb))
    stem, _, custom_verb = path.partition(":")
    route = Route(verb, path, method, tuple(stem.split("/")[1:]), custom_verb, rule.body, rule.response_body)
    _check(route)
    yield route
    for additional in rule.additional_bindings:
        yield from _bindings(method, additional)


def _check(route: Route) -> None:
    method = route.method
    if method.client_streaming or method.server_streaming:
        raise ContractDefect(f"{method.full_name} streams, which REST does not")
    for variable in route.variables:
        named = field_at(route.request, variable)
        if named is None or named.is_repeated or named.message_type is not None:
            raise ContractDefect(f"{route.path} of {method.full_name} names {variable}, which is no single value")
    if route.body not in ("", WHOLE_REQUEST) and route.body not in route.request.fields_by_name:
        raise ContractDefect(f"{method.full_name} has no field {route.body} for its body")
    if route.response_body and route.response_body not in route.response.fields_by_name:
        raise ContractDefect(f"{method.full_name} has no field {route.response_body} for its answer")


def _is_variable(segment: str) -> bool:
    return segment.startswith("{")


def _nodes(node: _Node, segments: list[str], place: int) -> Iterator[_Node]:
    """Every node that the segments lead to, those by literals first."""
    if place == len(segments):
        if node.routes:
            yield node
        return
    literal = node.literals.get(segments[place])
    if literal is not None:
        yield from _nodes(literal, segments, place + 1)
    if node.variable is not None and segments[place]:
        yield from _nodes(node.variable, segments, place + 1)


def _values(route: Route, segments: list[str]) -> dict[str, str]:
    return {name[1:-1]: value for name, value in zip(route.segments, segments, strict=True) if _is_variable(name)}
