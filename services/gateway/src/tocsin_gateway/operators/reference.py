"""`/openapi.json`, and `/docs`: an API reference that needs nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from tocsin_gateway.entrance.frame import note_route
from tocsin_gateway.entrance.problems import MEANINGS
from tocsin_gateway.transcoding.openapi import document as openapi
from tocsin_gateway.transcoding.routes import RouteTable

_STYLE = """
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:60rem;margin:0 auto;padding:1rem}
h2{margin-top:2.5rem;border-bottom:1px solid #8886}
details{border:1px solid #8886;border-radius:.5rem;margin:.5rem 0;padding:.5rem .75rem}
summary{cursor:pointer;overflow-wrap:anywhere}
summary b{display:inline-block;min-width:4.5rem;font-family:ui-monospace,monospace}
code{font-family:ui-monospace,monospace}
dl{display:grid;grid-template-columns:minmax(8rem,auto) 1fr;gap:.25rem 1rem}
dt{font-family:ui-monospace,monospace;overflow-wrap:anywhere}dd{margin:0}
@media(max-width:36rem){dl{grid-template-columns:1fr}dd{margin:0 0 .5rem 1rem}}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


class Reference:
    """Serves the document of a route table, rendered once."""

    def __init__(self, table: RouteTable) -> None:
        rendered = openapi(table.routes, MEANINGS)
        self._json = json.dumps(rendered, ensure_ascii=False).encode()
        self._page = _page(rendered)

    async def document(self, request: Request) -> Response:
        """The OpenAPI document."""
        note_route(request.scope, "/openapi.json")
        return Response(self._json, media_type="application/json")

    async def page(self, request: Request) -> Response:
        """The page."""
        note_route(request.scope, "/docs")
        return HTMLResponse(self._page, headers={"Content-Security-Policy": _POLICY})


def _page(document: Mapping[str, Any]) -> str:
    by_tag: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            by_tag.setdefault(operation["tags"][0], []).append(_operation(verb, path, operation, document))
    sections = "".join(f"<h2>{escape(tag)}</h2>{''.join(entries)}" for tag, entries in sorted(by_tag.items()))
    title = escape(document["info"]["title"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title} API</title><style>{_STYLE}</style></head><body><main><h1>{title} API</h1>"
        f"<p>{escape(document['info']['description'])} Every call needs a bearer token; mistakes are answered as "
        'problem details. The same as a document: <a href="/openapi.json">openapi.json</a>.</p>'
        f"{sections}</main></body></html>"
    )


def _operation(verb: str, path: str, operation: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    fields = [(one["name"], one["in"], one.get("description", "")) for one in operation["parameters"]]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    fields += [
        (name, "body", schema.get("description", ""))
        for name, schema in _resolved(body, document).get("properties", {}).items()
    ]
    rows = "".join(
        f"<dt>{escape(name)} <small>{where}</small></dt><dd>{escape(said)}</dd>" for name, where, said in fields
    )
    return (
        f"<details><summary><b>{verb.upper()}</b><code>{escape(path)}</code> {escape(operation['summary'])}</summary>"
        f"<p>{escape(operation['description'])}</p><dl>{rows}</dl></details>"
    )


def _resolved(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    resolved: Mapping[str, Any] = document["components"]["schemas"][name] if name else schema
    return resolved
