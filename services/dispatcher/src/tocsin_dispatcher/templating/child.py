"""What runs in a child process: takes a request by stdin, answers by stdout, until stdin ends.

    python -I -m tocsin_dispatcher.templating.child MEMORY_BYTES SECONDS

A frame is its length in four bytes, big-endian, and so many bytes of JSON. The child says `{}` when it is ready. A
request is `{"sources": {part: source}, "variables": {...}}`, answered by `{"texts": {part: text}, "cpu": seconds}`, or
`{"sources": ..., "known": [...]}`, answered by `{"names": [...]}`; either by `{"fault", "part", "line", "why"}` where
it cannot be. After a lack of memory the child ends: what it still holds is no matter for the next one.

It can open no file and start no process, and its environment is empty. The parent ends it when it takes too long; were
the parent gone, its own alarm would.
"""

from __future__ import annotations

import json
import resource
import signal
import struct
import sys
import textwrap  # noqa: F401 - Jinja imports it at the first `wordwrap`, when no file can be opened any more
import time
from contextlib import suppress
from typing import Any, BinaryIO

import jinja2.debug  # noqa: F401 - Jinja imports it at the first error, when no file can be opened any more

from tocsin_dispatcher.templating.sandbox import Fault, Faulty, names_of, rendered

_LENGTH = struct.Struct(">I")
_LARGEST_REQUEST = 4 * 1024 * 1024
_GRACE = 1.0
"""Seconds that the parent has for ending the child itself."""


def main(memory: int, seconds: float) -> None:
    """Serve until stdin ends, with so much memory, each request within so many seconds."""
    _warm_up()
    _limit(memory)
    read, write = sys.stdin.buffer, sys.stdout.buffer
    _put(write, {})
    while (request := _take(read)) is not None:
        signal.setitimer(signal.ITIMER_REAL, seconds + _GRACE)
        answer = _answer(request)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _put(write, answer)
        if answer.get("fault") == Fault.MEMORY:
            return


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    began = time.process_time()
    try:
        if "known" in request:
            return {"names": names_of(request["sources"], request["known"])}
        texts = rendered(request["sources"], request["variables"])
        return {"texts": texts, "cpu": time.process_time() - began}
    except Faulty as fault:
        return {"fault": fault.fault, "part": fault.part, "line": fault.line, "why": fault.why}
    except MemoryError:
        return {"fault": Fault.MEMORY, "part": "", "line": 0, "why": "more memory than a template may use"}


def _warm_up() -> None:
    """Have everything imported that rendering, and failing to, needs."""
    rendered({"html": "{% for n in range(2) %}{{ n|default('') }}{% endfor %}", "text": "{{ 'word'|truncate(4) }}"}, {})
    with suppress(Faulty):
        rendered({"text": "{{ nobody }}"}, {})


def _limit(memory: int) -> None:
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_NOFILE, 3),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def _take(read: BinaryIO) -> dict[str, Any] | None:
    head = read.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    body = read.read(min(length, _LARGEST_REQUEST))
    request: dict[str, Any] = json.loads(body)
    return request


def _put(write: BinaryIO, answer: dict[str, Any]) -> None:
    body = json.dumps(answer, ensure_ascii=False).encode(errors="replace")
    write.write(_LENGTH.pack(len(body)) + body)
    write.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
