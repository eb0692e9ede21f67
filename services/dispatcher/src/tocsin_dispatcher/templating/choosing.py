"""Which of a bank's versions a reader gets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from babel.core import Locale

from tocsin_dispatcher.values import ActiveTemplate, Channel, Slot, TemplateKind


def tag_of(locale: Locale) -> str:
    """The locale as BCP 47 writes it, in CLDR's capitals: `de-AT`, `zh-Hans-CN`."""
    return "-".join(filter(None, (locale.language, locale.script, locale.territory)))


def candidates(locale: Locale) -> list[str | None]:
    """The locales a reader's version is looked for under, in order: theirs, its language (in its script, then in any),
    the bank's for every other locale."""
    in_script = "-".join(filter(None, (locale.language, locale.script)))
    return list(dict.fromkeys((tag_of(locale), in_script, locale.language, None)))


@dataclass(frozen=True)
class InForce:
    """A bank's active versions."""

    by_slot: Mapping[Slot, ActiveTemplate] = field(default_factory=dict)

    @classmethod
    def of(cls, templates: Iterable[ActiveTemplate]) -> InForce:
        """These."""
        return cls({template.slot: template for template in templates})

    def best(self, kind: TemplateKind, channel: Channel, locale: Locale) -> ActiveTemplate | None:
        """The version for a reader of that locale; None where the built-in template is to tell it."""
        if not self.by_slot:
            return None
        found = (self.by_slot.get(Slot(kind, channel, tag)) for tag in candidates(locale))
        return next((template for template in found if template is not None), None)
