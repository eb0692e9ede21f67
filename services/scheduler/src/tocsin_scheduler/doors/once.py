"""Requests that carry the caller's own id."""

from __future__ import annotations

import hashlib

from google.protobuf.message import Message

from tocsin_kit.postgres.idempotency import RequestKey
from tocsin_kit.rpc.caller import current_caller
from tocsin_scheduler.desk import Once


def once_of(method: str, request_id: str, request: Message) -> Once | None:
    """How to recognise the request when it comes again; None where it carries no id."""
    if not request_id:
        return None
    caller = current_caller()
    key = RequestKey(caller.partner_id or 0, caller.subject, method, request_id)
    return Once(key, hashlib.sha256(request.SerializeToString(deterministic=True)).digest())
