"""OpenAPI 3.1 from the descriptors: routes, comments as descriptions, validation rules as constraints, access."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.api import annotations_pb2

from tocsin.options.v1 import options_pb2
from tocsin_gateway.transcoding.comments import comments
from tocsin_gateway.transcoding.constraints import Schema, needed
from tocsin_gateway.transcoding.fields import REQUEST_ID, AnyDescriptor, field_at
from tocsin_gateway.transcoding.requests import query_fields
from tocsin_gateway.transcoding.routes import WHOLE_REQUEST, Route
from tocsin_gateway.transcoding.schemas import INT64, Schemas, described
from tocsin_kit.rpc.errors import Reason

_HTTP: Any = annotations_pb2.http  # typed as a plain descriptor by its stubs

_PROBLEM: Schema = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status", "detail", "reason", "errors"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "reason": {
            "type": "string",
            "enum": [reason.value for reason in Reason],
            "description": "Why; the list is closed.",
        },
        "errors": {
            "type": "array",
            "description": "The fields at fault.",
            "items": {
                "type": "object",
                "required": ["field", "description"],
                "properties": {"field": {"type": "string"}, "description": {"type": "string"}},
            },
        },
    },
}
_REQUEST_TIMEOUT: Schema = {
    "name": "Request-Timeout",
    "in": "header",
    "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": 30, "default": 10},
    "description": "How many seconds the caller waits for the answer.",
}
_TOCSIN_USER: Schema = {
    "name": "Tocsin-User",
    "in": "header",
    "schema": INT64,
    "description": "The user for whom a bank's back end calls; goes with its service token only.",
}


def document(routes: Iterable[Route], problems: Mapping[int, str]) -> Schema:
    """The OpenAPI document of these routes, as plain JSON values. `problems`: what each status of a refusal means."""
    schemas = Schemas()
    paths: dict[str, Schema] = {}
    refusals: Schema = {str(status): {"$ref": f"#/components/responses/{status}"} for status in problems}
    for route in routes:
        operation = _operation(route, schemas)
        operation["responses"] |= refusals
        paths.setdefault(route.path, {})[route.verb] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tocsin",
            "version": "2",
            "description": "Alerts and notifications for personal finance.",
        },
        "paths": paths,
        "components": {
            "schemas": {"Problem": _PROBLEM, **schemas.made},
            "responses": {str(status): _refusal(said) for status, said in problems.items()},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _refusal(said: str) -> Schema:
    return {
        "description": f"{said}.",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _operation(route: Route, schemas: Schemas) -> Schema:
    said = comments().get(f"{route.method.containing_service.full_name}.{route.method.name}", "")
    scopes = [options_pb2.Scope.Name(scope).removeprefix("SCOPE_").lower() for scope in _scopes(route)]
    parameters = [*_path_parameters(route, schemas), *_query_parameters(route, schemas), *_headers(route, schemas)]
    operation: Schema = {
        "operationId": _operation_id(route),
        "tags": [route.method.containing_service.name],
        "summary": said.partition(". ")[0].rstrip("."),
        "description": f"{said} Scopes: {', '.join(scopes)}.".strip(),
        "security": [{"bearer": []}],
        "parameters": parameters,
        "responses": {str(route.success_status): _answer(route, schemas)},
    }
    if route.body:
        operation["requestBody"] = _body(route, schemas)
    return operation


def _scopes(route: Route) -> Sequence[options_pb2.Scope.ValueType]:
    return tuple(route.method.GetOptions().Extensions[options_pb2.access].scopes)


def _operation_id(route: Route) -> str:
    """The RPC's name; for its additional bindings with what sets them apart: the verb, or where the path leads."""
    rule: Any = route.method.GetOptions().Extensions[_HTTP]
    first = rule.WhichOneof("pattern")
    if (route.verb, route.path) == (first, getattr(rule, first)):
        return str(route.method.name)
    if route.verb != first:
        return f"{route.method.name}By{route.verb.title()}"
    return route.method.name + "By" + "".join(word.title() for name in route.variables for word in name.split("_"))


def _path_parameters(route: Route, schemas: Schemas) -> list[Schema]:
    parameters = []
    for variable in route.variables:
        field = field_at(route.request, variable)
        if field is None:
            raise LookupError(variable)  # the route table has refused such a contract already
        parameters.append(
            {"name": variable, "in": "path", "required": True, "schema": schemas.of(field)} | described(field)
        )
    return parameters


def _query_parameters(route: Route, schemas: Schemas) -> list[Schema]:
    has_to_be_set = needed(route.request)
    return [
        {"name": name, "in": "query", "required": name in has_to_be_set, "schema": schemas.of(field)} | described(field)
        for name, field in query_fields(route).items()
    ]


def _headers(route: Route, schemas: Schemas) -> list[Schema]:
    headers = [_REQUEST_TIMEOUT]
    if (request_id := route.request.fields_by_name.get(REQUEST_ID)) is not None:
        said = "Sent again within 24 hours, the request has its effect once and gets the same answer."
        schema = schemas.of(request_id)
        headers.append({"name": "Idempotency-Key", "in": "header", "schema": schema, "description": said})
    if options_pb2.SCOPE_USER in _scopes(route):
        headers.append(_TOCSIN_USER)
    return headers


def _body(route: Route, schemas: Schemas) -> Schema:
    """The request's body. A PATCH names what it changes; where nothing has to be set, the body may be missing."""
    partial = route.verb == "patch"
    if route.body == WHOLE_REQUEST:
        schema = schemas.fields_of(route.request, without=frozenset({*route.variables, REQUEST_ID}))
        is_required = "required" in schema
    else:
        field: Any = route.body_field
        schema = schemas.of(field, partial=partial) | ({"minProperties": 1} if partial else {})
        is_required = partial or bool(needed(field.message_type))
    return {"required": is_required, "content": {"application/json": {"schema": schema}}}


def _answer(route: Route, schemas: Schemas) -> Schema:
    if not route.response.fields:
        return {"description": "Done."}
    descriptor: AnyDescriptor = route.response
    schema = (
        schemas.of(descriptor.fields_by_name[route.response_body])
        if route.response_body
        else schemas.reference(descriptor)
    )
    return {
        "description": comments().get(descriptor.full_name, "The answer."),
        "content": {"application/json": {"schema": schema}},
    }
