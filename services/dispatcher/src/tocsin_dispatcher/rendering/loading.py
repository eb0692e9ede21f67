"""The built-in templates, from the wheel; HTML has its CSS inlined when it is loaded, once, and not per message."""

from collections.abc import Callable, MutableMapping
from functools import cache
from importlib.resources import files
from typing import Any

from css_inline import CSSInliner
from jinja2 import Environment, FunctionLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from tocsin_dispatcher.rendering.languages import ENGLISH, Language
from tocsin_dispatcher.rendering.translating import translating_into

_TEMPLATES = files("tocsin_dispatcher") / "templates"
_LAYOUT = "layout.html"


def read_template(name: str) -> str:
    """A built-in template's own text; FileNotFoundError where there is none of that name."""
    return _TEMPLATES.joinpath(*name.split("/")).read_text(encoding="utf-8")


class _Environment(SandboxedEnvironment):
    """One whose globals are all there before its first template is loaded."""

    def make_globals(self, d: MutableMapping[str, Any] | None) -> MutableMapping[str, Any]:
        """Jinja's own are a chain of mappings, gone through key by key each time a message's template is rendered."""
        return {**self.globals, **(d or {})}


def environment(language: Language = ENGLISH) -> Environment:
    """A sandboxed environment: HTML is escaped, an undefined variable is an error, texts are in the language."""
    made = _Environment(
        loader=FunctionLoader(_inlined_source()),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[translating_into(language)],
    )
    made.globals["language"] = language
    return made


@cache
def _inlined_source() -> Callable[[str], str]:
    """Reads a template, with `style.css` inlined where it is HTML.

    Inlining works on the template's source: blocks and expressions stand only where HTML allows text, and so come
    through it unchanged.
    """
    inliner, style = CSSInliner(load_remote_stylesheets=False), read_template("style.css")

    @cache
    def source(name: str) -> str:
        text = read_template(name)
        if not name.endswith(".html"):
            return text
        if name == _LAYOUT:
            return inliner.inline(text.replace("</head>", f"<style>{style}</style></head>"))
        return inliner.inline_fragment(text, style)

    return source
