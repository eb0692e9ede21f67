"""The languages of the built-in texts: English as the templates have it, the others from `templates/languages/*.po`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from gettext import NullTranslations
from importlib.resources import files
from io import BytesIO

from babel.core import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations

_CATALOGS = files("tocsin_dispatcher") / "templates" / "languages"
TRANSLATED = ("de", "es", "fr")
"""Languages that have a catalog, beside English."""


@dataclass(frozen=True, slots=True)
class Language:
    """A language that the built-in texts are written in."""

    tag: str
    """BCP 47."""
    catalog: NullTranslations = field(repr=False, compare=False)

    def text(self, english: str, **values: str) -> str:
        """The words, with `%(name)s` filled in."""
        return self.catalog.gettext(english) % values

    def count(self, one: str, many: str, count: int, shown: str) -> str:
        """The words for so many, in the language's plural; `%(count)s` becomes `shown`."""
        return self.catalog.ngettext(one, many, count) % {"count": shown}


ENGLISH = Language("en", NullTranslations())
"""As the templates have it."""


def language_of(locale: Locale) -> Language:
    """The language that texts for readers of a locale are written in: theirs, or English."""
    return _language(locale.language if locale.language in TRANSLATED else "en")


@cache
def _language(tag: str) -> Language:
    return Language(tag, _catalog(tag)) if tag in TRANSLATED else ENGLISH


def _catalog(tag: str) -> Translations:
    """The catalog, compiled when it is first asked for: so no compiled file has to be kept in step."""
    compiled = BytesIO()
    with (_CATALOGS / f"{tag}.po").open("rb") as written:
        write_mo(compiled, read_po(written, locale=tag))
    return Translations(BytesIO(compiled.getvalue()))
