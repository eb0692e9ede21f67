"""What a bank's template may do. Runs in a child process only: parsing, too, can take all memory and time there is.

Two walls: a template is made of the constructs named here and no others, and what it is made of is rendered in Jinja's
sandbox (https://jinja.palletsprojects.com/en/stable/sandbox/). Memory and time are the child's to limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

LARGEST_OUTPUT = 256 * 1024
"""Bytes in UTF-8, of all parts together."""
_LONGEST_RANGE = 1000
_CACHED = 16
"""Compiled sources that a child keeps."""

_CONSTRUCTS = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.Tuple,
    nodes.List,
    nodes.Keyword,
    nodes.CondExpr,
    nodes.Filter,
    nodes.Test,
    nodes.Call,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Slice,
    nodes.Concat,
    nodes.Compare,
    nodes.Operand,
    nodes.Add,
    nodes.Sub,
    nodes.Mul,
    nodes.Div,
    nodes.FloorDiv,
    nodes.Mod,
    nodes.Neg,
    nodes.Pos,
    nodes.Not,
    nodes.And,
    nodes.Or,
    nodes.If,
    nodes.For,
    nodes.Macro,
    nodes.With,
    nodes.Assign,
)
_FILTERS = [
    "abs",
    "capitalize",
    "center",
    "default",
    "e",
    "escape",
    "first",
    "indent",
    "int",
    "join",
    "last",
    "length",
    "lower",
    "replace",
    "round",
    "title",
    "trim",
    "truncate",
    "upper",
    "urlencode",
    "wordcount",
    "wordwrap",
]
_TESTS = [
    "defined",
    "divisibleby",
    "even",
    "eq",
    "equalto",
    "ge",
    "gt",
    "in",
    "le",
    "lt",
    "ne",
    "none",
    "number",
    "odd",
    "string",
    "undefined",
]
_OF_JINJA = frozenset({"self", "super", "caller", "varargs", "kwargs"})
_SPOKEN = {
    "Include": "include",
    "Extends": "extends",
    "Import": "import",
    "FromImport": "import",
    "Block": "block",
    "CallBlock": "call",
    "FilterBlock": "filter block",
    "AssignBlock": "set block",
    "Scope": "autoescape",
    "ScopedEvalContextModifier": "autoescape",
    "Pow": "**",
    "Dict": "a dictionary",
    "Pair": "a dictionary",
    "NSRef": "namespace",
}


class Fault(StrEnum):
    """Why a template gave no text."""

    ERROR = "error"
    """It is wrong, or does what no template may."""
    TOO_LARGE = "too_large"
    MEMORY = "memory"
    EMPTY = "empty"


@dataclass(eq=False)
class Faulty(Exception):
    """A part that cannot be rendered; `line` counts from 1, 0 where no line is to blame. Not frozen: Python writes
    tracebacks into exceptions."""

    fault: Fault
    part: str
    line: int
    why: str


def names_of(sources: Mapping[str, str], known: Sequence[str]) -> list[str]:
    """The variables that the parts use, sorted. Raises Faulty for what is no template, and for a variable not known."""
    used: set[str] = set()
    for part, source in sources.items():
        tree = _parsed(part, source)
        with _reading(part):
            undeclared = meta.find_undeclared_variables(tree) - {"range"}
        for name in sorted(undeclared - set(known)):
            raise Faulty(Fault.ERROR, part, _line_of(tree, name), f"there is no variable {name!r}")
        used |= undeclared
    return sorted(used)


def rendered(sources: Mapping[str, str], variables: Mapping[str, object]) -> dict[str, str]:
    """The parts as text; `html` is escaped. Raises Faulty."""
    left, texts = LARGEST_OUTPUT, {}
    for part, source in sources.items():
        texts[part] = text = _text(part, source, variables, left)
        left -= len(text.encode())
    return texts


def _text(part: str, source: str, variables: Mapping[str, object], limit: int) -> str:
    pieces, size = [], 0
    try:
        for piece in _compiled(part, source).generate(variables):
            size += len(piece.encode(errors="replace"))
            if size > limit:
                raise Faulty(Fault.TOO_LARGE, part, 0, f"more than {LARGEST_OUTPUT // 1024} KB of text")
            pieces.append(piece)
    except (Faulty, MemoryError):
        raise
    except RecursionError:
        raise Faulty(Fault.ERROR, part, 0, "nested too deeply") from None
    except Exception as error:  # whatever a bank's template raises is that template's fault
        raise Faulty(Fault.ERROR, part, _line_in(error), _told(error)) from None
    return "".join(pieces).encode(errors="replace").decode()


@lru_cache(maxsize=_CACHED)
def _compiled(part: str, source: str) -> Template:
    _parsed(part, source)
    return _environment(part == "html").from_string(source)


def _parsed(part: str, source: str) -> nodes.Template:
    """The template's tree, of what is allowed only. Raises Faulty."""
    with _reading(part):
        tree = _environment(part == "html").parse(source)
        _check(part, tree)
    return tree


@contextmanager
def _reading(part: str) -> Iterator[None]:
    """What Jinja finds wrong with a part while it reads it is that part's fault."""
    try:
        yield
    except TemplateSyntaxError as error:
        raise Faulty(Fault.ERROR, part, error.lineno, _told(error)) from None
    except RecursionError:
        raise Faulty(Fault.ERROR, part, 0, "nested too deeply") from None


def _check(part: str, tree: nodes.Template) -> None:
    for node in (tree, *tree.find_all(nodes.Node)):
        why = _forbidden(node)
        if why is not None:
            raise Faulty(Fault.ERROR, part, _line_at(node), why)


def _forbidden(node: nodes.Node) -> str | None:
    """Why a construct is not allowed; None where it is."""
    match node:
        case nodes.Call() if not isinstance(node.node, nodes.Name):
            return "only macros and range can be called"
        case nodes.Getattr() if node.attr.startswith("_"):
            return f"{node.attr!r} is not allowed"
        case nodes.Getitem(arg=nodes.Const(value=str(key))) if key.startswith("_"):
            return f"{key!r} is not allowed"
        case nodes.Name() if node.name.startswith("_") or node.name in _OF_JINJA:
            return f"{node.name!r} is not allowed"
        case nodes.Filter() if node.name not in _FILTERS:
            return f"there is no filter {node.name!r}"
        case nodes.Test() if node.name not in _TESTS:
            return f"there is no test {node.name!r}"
        case _ if not isinstance(node, _CONSTRUCTS):
            name = type(node).__name__
            return f"{_SPOKEN.get(name, name.lower())} is not allowed"
        case _:
            return None


@lru_cache(maxsize=2)
def _environment(escapes: bool) -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(
        autoescape=escapes, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, cache_size=0
    )
    made.globals = {"range": _short_range}
    made.filters = {name: made.filters[name] for name in _FILTERS}
    made.tests = {name: made.tests[name] for name in _TESTS}
    return made


def _short_range(*bounds: int) -> range:
    span = range(*bounds)
    if len(span) > _LONGEST_RANGE:
        raise ValueError(f"a range has at most {_LONGEST_RANGE} numbers")
    return span


def _line_at(node: nodes.Node) -> int:
    """A node's line; nodes that Jinja adds itself have none, whatever their type says, but what is in them may."""
    lines = (inner.lineno for inner in (node, *node.find_all(nodes.Node)))
    return next((line for line in lines if line), 0)


def _line_of(tree: nodes.Template, name: str) -> int:
    return next((node.lineno for node in tree.find_all(nodes.Name) if node.name == name), 0)


def _line_in(error: BaseException) -> int:
    """The template's line that raised: Jinja rewrites tracebacks so that they name it."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _told(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200]
