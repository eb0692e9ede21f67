"""Texts of templates in a language, put in when a template is compiled: at the message they cost nothing.

Templates are written for Jinja's own i18n extension, whose tools find their texts: `_("Account")` for a label,
`{% trans %}...{% endtrans %}` for a sentence with values in it, with `{% pluralize %}` where a count decides. Only the
count's plural has to wait for the message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial

from jinja2 import Environment, nodes
from jinja2.ext import Extension, InternationalizationExtension
from jinja2.lexer import Token, TokenStream
from jinja2.parser import Parser

from tocsin_dispatcher.rendering.languages import Language

_VALUE = re.compile(r"%\((\w+)\)s")


def translating_into(language: Language) -> type[Extension]:
    """The extension that puts the language's texts in."""
    return type("Translating", (_Translating,), {"language": language})


class _Translating(InternationalizationExtension):
    language: Language

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        catalog = self.language.catalog
        # the extension adds this method, which its environment's type does not know
        install = partial(environment.install_gettext_callables, newstyle=True)  # type: ignore[attr-defined]
        install(catalog.gettext, catalog.ngettext)

    def filter_stream(self, stream: TokenStream) -> Iterable[Token]:
        """The tokens with each `_("text")` as the text it stands for."""
        tokens = _Ahead(stream)
        for token in tokens:
            following = tokens.peek(3)
            is_label = (token.type, token.value) == ("name", "_") and [one.type for one in following] == _CALLED
            if not is_label:
                yield token
                continue
            tokens.skip(3)
            yield Token(token.lineno, "string", self.language.catalog.gettext(following[1].value))

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """A `trans` block as its translation, with the values in their places; one with a plural as a call."""
        block = super().parse(parser)
        match block:
            case nodes.Output(
                nodes=[
                    nodes.Call(node=nodes.Name(name="gettext"), args=[nodes.Const(value=str(english))], kwargs=given)
                ]
            ):
                values = {value.key: value.value for value in given}
                return nodes.Output(list(self._pieces(english, values)), lineno=block.lineno)
            case _:
                return block

    def _pieces(self, english: str, values: dict[str, nodes.Expr]) -> Iterator[nodes.Expr]:
        """The translation's words and values, in its own order."""
        words = _VALUE.split(self.language.catalog.gettext(english))
        for place, word in enumerate(words):
            yield values[word] if place % 2 else nodes.TemplateData(word.replace("%%", "%"))


_CALLED = ["lparen", "string", "rparen"]


class _Ahead:
    """Tokens that can be looked at before they come."""

    def __init__(self, stream: Iterable[Token]) -> None:
        self._tokens, self._next = list(stream), 0

    def __iter__(self) -> Iterator[Token]:
        while self._next < len(self._tokens):
            self._next += 1
            yield self._tokens[self._next - 1]

    def peek(self, count: int) -> list[Token]:
        """The tokens after the one that came last."""
        return self._tokens[self._next : self._next + count]

    def skip(self, count: int) -> None:
        """Leave out the next ones."""
        self._next += count
