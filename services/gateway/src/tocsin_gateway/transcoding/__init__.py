"""REST to gRPC and back, generically: what the protos say is all there is.

::

    services' descriptors
        │ routes.py      google.api.http options → a table of verb and path
        ▼
    request ─► match ─► requests.py   body + path + query + headers → one JSON object
                            │ codec.py    a compiled reader per message type (values.py: single values)
                            ▼
                        request message ──► the RPC (doors/upstream.py) ──► response message
                                                                                │ codec.py, a compiled writer
                        answer ◄── answers.py   response_body, 200, 201 or 204 ◄┘

`openapi.py` describes the same table as an OpenAPI document, by `schemas.py` and `constraints.py` (what the protos'
rules say of values). Nothing here knows any RPC by name.
"""
