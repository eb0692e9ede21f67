"""Renders a firing's texts from the built-in templates."""

from dataclasses import dataclass

from jinja2 import Template

from tocsin_dispatcher.rendering.links import action_url
from tocsin_dispatcher.rendering.loading import environment
from tocsin_dispatcher.rendering.variables import Reader, variables
from tocsin_dispatcher.values import AlertKind, FiringContext, InAppMessage


@dataclass(frozen=True, slots=True)
class EmailTexts:
    """The parts of an e-mail, before the medium's own rules are applied."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class _KindTemplates:
    subject: Template
    in_app: Template
    body_text: Template
    body_html: Template
    sms: Template


class Renderer:
    """Compiled templates of all kinds. `sender` is the name a message goes out under."""

    def __init__(self, frontend_url: str, sender: str) -> None:
        self._frontend_url = frontend_url
        self._sender = sender
        compiled = environment()
        self._templates = {
            kind: _KindTemplates(
                subject=compiled.get_template(f"{kind}/subject.txt"),
                in_app=compiled.get_template(f"{kind}/in_app.txt"),
                body_text=compiled.get_template(f"{kind}/body.txt"),
                body_html=compiled.get_template(f"{kind}/body.html"),
                sms=compiled.get_template(f"{kind}/sms.txt"),
            )
            for kind in AlertKind
        }

    def in_app(self, context: FiringContext, reader: Reader) -> InAppMessage:
        """What the inbox shows."""
        return self._in_app(context, variables(context, reader))

    def email(self, context: FiringContext, reader: Reader, unsubscribe_url: str) -> EmailTexts:
        """An e-mail's subject and its two bodies."""
        known = variables(context, reader)
        shown = self._in_app(context, known)
        known |= {
            "title": shown.title,
            "message": shown.message,
            "action_url": shown.action_url,
            "unsubscribe_url": unsubscribe_url,
            "sender": self._sender,
        }
        templates = self._templates[context.kind]
        return EmailTexts(shown.title, templates.body_text.render(known), templates.body_html.render(known))

    def sms(self, context: FiringContext, reader: Reader) -> str:
        """A text message's words, of any length."""
        return self._templates[context.kind].sms.render(variables(context, reader))

    def _in_app(self, context: FiringContext, known: dict[str, str | bool]) -> InAppMessage:
        templates = self._templates[context.kind]
        title = _one_line(templates.subject.render(known))
        _, _, message = templates.in_app.render({**known, "title": title}).partition("\n")
        return InAppMessage(title, message.strip(), action_url(context, self._frontend_url))


def _one_line(text: str) -> str:
    return " ".join(text.split())
