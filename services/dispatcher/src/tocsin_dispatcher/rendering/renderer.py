"""Renders texts from the built-in templates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from babel.core import Locale
from jinja2 import Template

from tocsin_dispatcher.rendering.digests import Group, groups_of, summary
from tocsin_dispatcher.rendering.languages import TRANSLATED, Language, language_of
from tocsin_dispatcher.rendering.links import action_url
from tocsin_dispatcher.rendering.loading import environment
from tocsin_dispatcher.rendering.variables import Reader, Value, variables
from tocsin_dispatcher.values import Digest, InAppMessage, PushTest, TemplateKind, Told, Verification, kind_told

Known = Mapping[str, "Value | Sequence[Group]"]
"""Everything that a message's templates may use, by name."""

_EVERY_PART = ("subject.txt", "in_app.txt", "body.txt", "body.html", "sms.txt", "push.txt")
_PARTS: dict[TemplateKind, tuple[str, ...]] = {
    **dict.fromkeys(TemplateKind, _EVERY_PART),
    TemplateKind.DIGEST: ("subject.txt", "message.txt", "body.txt", "body.html", "sms.txt", "push.txt"),
    TemplateKind.VERIFICATION: ("subject.txt", "message.txt", "body.txt", "body.html", "sms.txt"),
    TemplateKind.SYSTEM: ("subject.txt", "message.txt", "push.txt"),
}
"""The files of each folder: no digest and no code goes to the inbox, no code by push, a test of a browser only so."""


@dataclass(frozen=True, slots=True)
class EmailTexts:
    """The parts of an e-mail, before the medium's own rules are applied."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class PushTexts:
    """What a push message shows, and where it leads."""

    title: str
    message: str
    action_url: str


class Renderer:
    """Compiled templates of everything that is told. `sender` is the name a message goes out under."""

    def __init__(self, frontend_url: str, sender: str) -> None:
        self._frontend_url = frontend_url
        self._sender = sender
        self._templates = {
            language_of(Locale(tag)).tag: _compiled(language_of(Locale(tag))) for tag in ("en", *TRANSLATED)
        }

    def in_app(self, told: Told, reader: Reader) -> InAppMessage:
        """What the inbox shows."""
        known = self.known(told, reader)
        return InAppMessage(str(known["title"]), str(known["message"]), str(known["action_url"]))

    def email(self, told: Told, reader: Reader, unsubscribe_url: str) -> EmailTexts:
        """An e-mail's subject and its two bodies. A code is asked for: it leaves out how to stop such e-mails."""
        known = self.known(told, reader, unsubscribe_url)
        return EmailTexts(
            str(known["title"]),
            self._render(told, "body.txt", known, reader),
            self._render(told, "body.html", known, reader),
        )

    def sms(self, told: Told, reader: Reader) -> str:
        """A text message's words, of any length."""
        known = self._named(told, reader) if kind_told(told) in _TOLD_BY_THEIR_OWN else self.known(told, reader)
        return self._render(told, "sms.txt", known, reader).strip()

    def push(self, told: Told, reader: Reader) -> PushTexts:
        """A push message's title and message, of any length. There is none for a code."""
        known = self.known(told, reader)
        title, _, message = self._render(told, "push.txt", known, reader).strip().partition("\n")
        return PushTexts(one_line(title), message.strip(), str(known["action_url"]))

    def known(self, told: Told, reader: Reader, unsubscribe_url: str = "") -> Known:
        """Everything that its templates may use, a bank's too: its own variables, and what every message has.

        None of it holds a figure where the reader has them hidden.
        """
        named = self._named(told, reader)
        title = one_line(self._render(told, "subject.txt", named, reader))
        return {
            **named,
            "title": title,
            "message": self._message(told, {**named, "title": title}, reader),
            "unsubscribe_url": unsubscribe_url,
        }

    def _named(self, told: Told, reader: Reader) -> Known:
        shared: Known = {
            "hide_amounts": reader.hide_amounts,
            "sender": self._sender,
            "action_url": action_url(told, self._frontend_url),
        }
        match told:
            case Digest():
                groups = groups_of(told, reader, lambda context: self.in_app(context, reader))
                return {**shared, "count": len(told.members), "groups": groups, "summary": summary(groups)}
            case Verification():
                return {**shared, "code": told.code, "minutes": told.valid_for // timedelta(minutes=1)}
            case PushTest():
                return shared
            case _:
                return {**shared, **variables(told, reader)}

    def _message(self, told: Told, known: Known, reader: Reader) -> str:
        if isinstance(told, Digest | Verification | PushTest):
            return self._render(told, "message.txt", known, reader).strip()
        _, _, message = self._render(told, "in_app.txt", known, reader).partition("\n")
        return message.strip()

    def _render(self, told: Told, part: str, known: Known, reader: Reader) -> str:
        return self._templates[language_of(reader.locale).tag][kind_told(told)][part].render(known)


_TOLD_BY_THEIR_OWN = frozenset(TemplateKind) - {TemplateKind.DIGEST}
"""Whose text messages use neither title nor message: a text of each is not rendered for nothing."""


@cache
def _compiled(language: Language) -> Mapping[TemplateKind, Mapping[str, Template]]:
    """The templates in a language, compiled once: they hold nothing of who renders them."""
    made = environment(language)
    return {kind: {part: made.get_template(f"{kind}/{part}") for part in parts} for kind, parts in _PARTS.items()}


def one_line(text: str) -> str:
    """The text with every run of white space as one space."""
    return " ".join(text.split())
