"""What a version must do before messages are told by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from tocsin_dispatcher.rendering.renderer import Renderer
from tocsin_dispatcher.rendering.variables import Reader
from tocsin_dispatcher.templating.children import SLOW, Children, Failure, FailureKind
from tocsin_dispatcher.templating.choosing import tag_of
from tocsin_dispatcher.templating.examples import NoSuchValue, edges, example, reader
from tocsin_dispatcher.text import fitted, plain, segments
from tocsin_dispatcher.values import PARTS, Channel, Part, Slot, Sources, TemplateKind, TemplateVersion, Told

LOCALES = ("en-US", "de-DE", "es-ES", "fr-FR", "ja-JP")
"""What a version for every other locale is tried in."""
LARGEST_SOURCES = 64 * 1024
"""Bytes in UTF-8, of a version's parts together."""
_NEVER = {
    TemplateKind.DIGEST: frozenset({Channel.IN_APP}),
    TemplateKind.VERIFICATION: frozenset({Channel.IN_APP, Channel.PUSH}),
    TemplateKind.SYSTEM: frozenset({Channel.EMAIL, Channel.SMS, Channel.IN_APP}),
}
_HIDING = frozenset({Channel.SMS, Channel.PUSH})
"""Channels that tell no figures to who has them hidden."""
Answer = TypeVar("Answer")
_STOP = "https://tocsin.example/u/example"


class Unfit(Exception):
    """A version that cannot be used; `part` names what is wrong with it."""

    def __init__(self, part: str, why: str) -> None:
        super().__init__(why)
        self.part, self.why = part, why


class Unchecked(Exception):
    """No process was free to check it: later may work."""


@dataclass(frozen=True)
class Checks:
    """Renders versions to see that they can be."""

    children: Children
    renderer: Renderer

    def example(self, kind: TemplateKind, values: Mapping[str, str], to: Reader) -> Told:
        """The kind's example with `values` in place of its own, as it can be told to somebody.

        Raises NoSuchValue, which names the one at fault.
        """
        for name, value in values.items():
            told = example(kind, {name: value})
            try:
                self.renderer.known(told, to)
            except (ValueError, ArithmeticError) as error:
                raise NoSuchValue(f"{name!r} is beyond what can be told") from error
        return example(kind, values)

    async def variables(self, partner_id: int, slot: Slot, sources: Sources) -> list[str]:
        """The variables that the sources of a new version use. Raises Unfit for what can never be activated."""
        if slot.channel in _NEVER.get(slot.kind, frozenset()):
            raise Unfit("channel", f"a {slot.kind} message is never told there")
        for part in sources:
            if part not in PARTS[slot.channel]:
                raise Unfit(part, f"{slot.channel} has none")
        if sum(len(source.encode()) for source in sources.values()) > LARGEST_SOURCES:
            raise Unfit(Part.TEXT, f"with the other parts more than {LARGEST_SOURCES // 1024} KB")
        known = self.renderer.known(example(slot.kind), reader("en-US"))
        return _or_unfit(await self.children.names(partner_id, sources, sorted(known)))

    async def check(self, version: TemplateVersion, sms_segments: int) -> None:
        """Raises Unfit where the version cannot be activated."""
        for part in PARTS[version.slot.channel]:
            if part not in version.sources:
                raise Unfit(part, f"is required for {version.slot.channel}")
        await self.variables(version.partner_id, version.slot, version.sources)
        for locale in [version.slot.locale] if version.slot.locale else LOCALES:
            for told in edges(version.slot.kind):
                for hidden in (False, True) if version.slot.channel in _HIDING else (False,):
                    await self._check_one(version, told, reader(locale, hidden), sms_segments)

    async def rendered(
        self, version: TemplateVersion, told: Told, to: Reader, unsubscribe_url: str = _STOP
    ) -> Mapping[str, str]:
        """The parts as this version tells them; e-mail and inbox with all figures, whoever reads. Raises Unfit."""
        channel = version.slot.channel
        shown_to = replace(to, hide_amounts=to.hide_amounts and channel in _HIDING)
        known = self.renderer.known(told, shown_to, unsubscribe_url if channel is Channel.EMAIL else "")
        answer = await self.children.render(version.partner_id, version.sources, known)
        if not isinstance(answer, Failure) and answer.cpu > SLOW:
            answer = Failure(FailureKind.SLOW, why=f"takes more than {SLOW.total_seconds():g} s to render")
        texts = _or_unfit(answer)
        for part, text in texts.parts.items():
            if not text.strip():
                raise Unfit(part, "renders to nothing")
        return texts.parts

    async def _check_one(self, version: TemplateVersion, told: Told, to: Reader, sms_segments: int) -> None:
        parts = await self.rendered(version, told, to)
        subject = parts.get(Part.SUBJECT, "").strip()
        if len(subject.splitlines()) > 1:
            raise Unfit(Part.SUBJECT, "renders to more than one line")
        if version.slot.channel is Channel.SMS:
            needed = segments(plain(parts[Part.TEXT]).strip())
            if needed > sms_segments:
                raise Unfit(
                    Part.TEXT, f"takes {needed} segments in {tag_of(to.locale)}, of {sms_segments} that are allowed"
                )


def as_sent(text: str, sms_segments: int) -> tuple[str, int]:
    """A text message's words as they are sent, and how many segments they take."""
    words = fitted(text, sms_segments)
    return words, segments(words)


def _or_unfit(answer: Answer | Failure) -> Answer:
    if not isinstance(answer, Failure):
        return answer
    if answer.kind is FailureKind.BUSY:
        raise Unchecked(str(answer))
    raise Unfit(answer.part or Part.TEXT, str(answer))
