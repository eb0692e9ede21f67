"""OpenAPI 3.1 from the descriptors: routes, comments as descriptions, validation rules as constraints, access."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from buf.validate import validate_pb2
from google.api import annotations_pb2
from google.protobuf.descriptor import FieldDescriptor

from tocsin.options.v1 import options_pb2
from tocsin_gateway.transcoding.comments import comments
from tocsin_gateway.transcoding.fields import REQUEST_ID, AnyDescriptor, entry_of, field_at, is_map
from tocsin_gateway.transcoding.requests import query_fields
from tocsin_gateway.transcoding.routes import WHOLE_REQUEST, Route
from tocsin_gateway.transcoding.values import enum_words, is_well_known

Schema = dict[str, Any]
_HTTP: Any = annotations_pb2.http  # typed as a plain descriptor by its stubs

_INT64: Schema = {"type": "string", "pattern": "^-?[0-9]{1,20}$", "format": "int64"}
_SCALARS: dict[int, Schema] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "format": "int32", "minimum": 0},
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_UINT64: _INT64,
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
}
_WELL_KNOWN: dict[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$"},
    "google.protobuf.FieldMask": {"type": "string"},
}
_PROBLEM: Schema = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status", "detail", "reason", "errors"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "reason": {"type": "string", "description": "One of the closed list of reasons."},
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
_DEFAULT_ANSWER: Schema = {
    "description": "What is wrong, as problem details.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def document(routes: Iterable[Route]) -> Schema:
    """The OpenAPI document of these routes, as plain JSON values."""
    schemas = _Schemas()
    paths: dict[str, Schema] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.verb] = _operation(route, schemas)
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
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _operation(route: Route, schemas: _Schemas) -> Schema:
    said = comments().get(f"{route.method.containing_service.full_name}.{route.method.name}", "")
    access = route.method.GetOptions().Extensions[options_pb2.access]
    scopes = [options_pb2.Scope.Name(scope).removeprefix("SCOPE_").lower() for scope in access.scopes]
    operation: Schema = {
        "operationId": _operation_id(route),
        "tags": [route.method.containing_service.name],
        "summary": said.partition(". ")[0].rstrip("."),
        "description": f"{said} Scopes: {', '.join(scopes)}.".strip(),
        "security": [{"bearer": []}],
        "parameters": [*_path_parameters(route, schemas), *_query_parameters(route, schemas), *_headers(route)],
        "responses": {str(route.success_status): _answer(route, schemas), "default": _DEFAULT_ANSWER},
    }
    if route.body:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _body_schema(route, schemas)}},
        }
    return operation


def _operation_id(route: Route) -> str:
    """The RPC's name; for its additional bindings with what sets them apart: the verb, or where the path leads."""
    rule: Any = route.method.GetOptions().Extensions[_HTTP]
    first = rule.WhichOneof("pattern")
    if (route.verb, route.path) == (first, getattr(rule, first)):
        return str(route.method.name)
    if route.verb != first:
        return f"{route.method.name}By{route.verb.title()}"
    return route.method.name + "By" + "".join(word.title() for name in route.variables for word in name.split("_"))


def _path_parameters(route: Route, schemas: _Schemas) -> list[Schema]:
    parameters = []
    for variable in route.variables:
        field = field_at(route.request, variable)
        if field is None:
            raise LookupError(variable)  # the route table has refused such a contract already
        parameters.append(
            {"name": variable, "in": "path", "required": True, "schema": schemas.of(field)} | _described(field)
        )
    return parameters


def _query_parameters(route: Route, schemas: _Schemas) -> list[Schema]:
    return [
        {"name": name, "in": "query", "schema": schemas.of(field)} | _described(field)
        for name, field in query_fields(route).items()
    ]


def _headers(route: Route) -> list[Schema]:
    if REQUEST_ID not in route.request.fields_by_name:
        return []
    said = "Sent again within 24 hours, the request has its effect once and gets the same answer."
    return [{"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}, "description": said}]


def _described(field: FieldDescriptor) -> Schema:
    said = comments().get(field.full_name)
    return {"description": said} if said else {}


def _body_schema(route: Route, schemas: _Schemas) -> Schema:
    if route.body == WHOLE_REQUEST:
        return schemas.fields_of(route.request, without={*route.variables, REQUEST_ID})
    field: Any = route.body_field
    return schemas.of(field)


def _answer(route: Route, schemas: _Schemas) -> Schema:
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


class _Schemas:
    """Component schemas, made as they are referred to."""

    def __init__(self) -> None:
        self.made: dict[str, Schema] = {}

    def reference(self, message: AnyDescriptor) -> Schema:
        """A reference to a message's schema."""
        name = str(message.full_name)
        if name not in self.made:
            self.made[name] = {}  # a message that contains itself finds its name taken
            self.made[name] = self.fields_of(message, without=set())
        return {"$ref": f"#/components/schemas/{name}"}

    def fields_of(self, message: AnyDescriptor, without: set[str]) -> Schema:
        """An object of a message's fields."""
        fields = [field for field in message.fields if field.name not in without]
        schema: Schema = {
            "type": "object",
            "properties": {field.name: self._property(field) for field in fields},
            "additionalProperties": False,
        }
        if said := comments().get(str(message.full_name)):
            schema["description"] = said
        return schema

    def _property(self, field: FieldDescriptor) -> Schema:
        schema = self.of(field)
        return {**schema, **_described(field)}

    def of(self, field: FieldDescriptor) -> Schema:
        """The schema of a field's value."""
        rules = field.GetOptions().Extensions[validate_pb2.field]
        if is_map(field):
            return {"type": "object", "additionalProperties": self._single(entry_of(field)[1], rules)}
        if not field.is_repeated:
            return self._single(field, rules)
        schema: Schema = {"type": "array", "items": self._single(field, rules.repeated.items)}
        if rules.repeated.HasField("min_items"):
            schema["minItems"] = rules.repeated.min_items
        if rules.repeated.HasField("max_items"):
            schema["maxItems"] = rules.repeated.max_items
        if rules.repeated.unique:
            schema["uniqueItems"] = True
        return schema

    def _single(self, field: FieldDescriptor, rules: validate_pb2.FieldRules) -> Schema:
        if field.enum_type is not None:
            words = enum_words(field.enum_type)
            return {"type": "string", "enum": [word for number, word in sorted(words.items()) if number]}
        message: AnyDescriptor = field.message_type
        if message is not None:
            return dict(_WELL_KNOWN[message.full_name]) if is_well_known(message) else self.reference(message)
        return {**_SCALARS[field.type], **_constraints(rules)}


def _constraints(rules: validate_pb2.FieldRules) -> Schema:
    """What JSON Schema can say of protovalidate's rules; 0 and empty are always allowed where a field may be left."""
    said: Schema = {}
    if rules.HasField("string"):
        if rules.string.HasField("max_len"):
            said["maxLength"] = rules.string.max_len
        if rules.string.HasField("min_len"):
            said["minLength"] = rules.string.min_len
        if rules.string.HasField("pattern"):
            said["pattern"] = rules.string.pattern
        if rules.string.uuid:
            said["format"] = "uuid"
    if rules.HasField("int32"):
        if rules.int32.HasField("gte"):
            said["minimum"] = rules.int32.gte
        if rules.int32.HasField("lte"):
            said["maximum"] = rules.int32.lte
    return said
