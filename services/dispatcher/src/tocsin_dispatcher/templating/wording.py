"""A bank's words for a message. Whatever goes wrong, there are none, and the built-in ones are told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from jinja2 import TemplateError

from tocsin_dispatcher.planning.local_time import zone_named
from tocsin_dispatcher.rendering.formats import locale_named
from tocsin_dispatcher.rendering.renderer import EmailTexts, PushTexts, Renderer, one_line
from tocsin_dispatcher.rendering.variables import Reader
from tocsin_dispatcher.templating.active import ActiveTemplates
from tocsin_dispatcher.templating.children import Children, Failure, FailureKind
from tocsin_dispatcher.templating.failures import Failures
from tocsin_dispatcher.values import Channel, Firing, InAppMessage, Part, Told, kind_told

INBOX_LIMIT = timedelta(milliseconds=250)
"""So long an intake waits for banks' words for the inbox, of all its firings together."""


class Wording:
    """Renders banks' templates in children, by the versions in force."""

    def __init__(self, active: ActiveTemplates, children: Children, failures: Failures, renderer: Renderer) -> None:
        self._active, self._children, self._failures, self._renderer = active, children, failures, renderer
        self._late: set[asyncio.Task[InAppMessage | None]] = set()

    def may_word(self, partner_id: int, told: Told, channel: Channel, reader: Reader) -> bool:
        """Whether a message may have been told in the bank's words, as far as is known without looking."""
        return self._active.known(partner_id).best(kind_told(told), channel, reader.locale) is not None

    async def email(self, partner_id: int, told: Told, reader: Reader, unsubscribe_url: str) -> EmailTexts | None:
        """An e-mail's texts; None: tell the built-in ones."""
        parts = await self._parts(partner_id, told, Channel.EMAIL, reader, unsubscribe_url)
        if parts is None:
            return None
        return EmailTexts(one_line(parts[Part.SUBJECT]), parts[Part.TEXT], parts[Part.HTML])

    async def sms(self, partner_id: int, told: Told, reader: Reader) -> str | None:
        """A text message's words, of any length; None: tell the built-in ones."""
        parts = await self._parts(partner_id, told, Channel.SMS, reader)
        return None if parts is None else parts[Part.TEXT].strip()

    async def push(self, partner_id: int, told: Told, reader: Reader) -> PushTexts | None:
        """A push message's texts; None: tell the built-in ones."""
        parts = await self._parts(partner_id, told, Channel.PUSH, reader)
        if parts is None:
            return None
        url = str(self._renderer.known(told, reader)["action_url"])
        return PushTexts(one_line(parts[Part.SUBJECT]), parts[Part.TEXT].strip(), url)

    async def in_app(self, partner_id: int, told: Told, reader: Reader) -> InAppMessage | None:
        """What the inbox shows; None: show the built-in words."""
        parts = await self._parts(partner_id, told, Channel.IN_APP, reader)
        if parts is None:
            return None
        url = str(self._renderer.known(told, reader)["action_url"])
        return InAppMessage(one_line(parts[Part.SUBJECT]), parts[Part.TEXT].strip(), url)

    async def inbox(self, firings: Sequence[Firing], now: datetime) -> Mapping[UUID, InAppMessage]:
        """The inbox's words for firings taken in together, by firing; those that are missing are told by the built-in
        templates. What is not rendered by INBOX_LIMIT is missing too: no firing waits for another bank's template."""
        await asyncio.gather(*(self._active.of(partner_id) for partner_id in {firing.partner_id for firing in firings}))
        if not any(self._has_words(firing) for firing in firings):
            return {}
        await self._children.warm_up()
        asked = {
            firing.id: asyncio.create_task(self._of_firing(firing, now))
            for firing in firings
            if self._has_words(firing)
        }
        done, late = await asyncio.wait(asked.values(), timeout=INBOX_LIMIT.total_seconds())
        self._go_on(late)
        worded = {id_: task.result() for id_, task in asked.items() if task in done}
        return {id_: words for id_, words in worded.items() if words is not None}

    def _has_words(self, firing: Firing) -> bool:
        reader = _reader(firing, firing.fired_at)
        return self.may_word(firing.partner_id, firing.context, Channel.IN_APP, reader)

    async def _of_firing(self, firing: Firing, now: datetime) -> InAppMessage | None:
        return await self.in_app(firing.partner_id, firing.context, _reader(firing, now))

    def _go_on(self, late: Iterable[asyncio.Task[InAppMessage | None]]) -> None:
        """Let them end by themselves, so that what takes too long is noted on its template."""
        for task in late:
            self._late.add(task)
            task.add_done_callback(self._late.discard)

    async def _parts(
        self, partner_id: int, told: Told, channel: Channel, reader: Reader, unsubscribe_url: str = ""
    ) -> Mapping[str, str] | None:
        """The parts that the bank's template gives; None where there is none, or it fails, or has failed too often."""
        in_force = await self._active.of(partner_id)
        template = in_force.best(kind_told(told), channel, reader.locale)
        if template is None or self._failures.bars(template):
            return None
        try:
            known = self._renderer.known(told, reader, unsubscribe_url)
        except (TemplateError, ValueError, LookupError, TypeError, ArithmeticError):
            return None  # nor can the built-in template tell it, which is said where it is tried
        rendered = await self._children.render(
            partner_id, template.sources, known, unless=lambda: self._failures.bars(template)
        )
        if isinstance(rendered, Failure):
            self._failures.add(template, rendered)
            return None
        empty = next((part for part, text in rendered.parts.items() if not text.strip()), None)
        if empty is not None:
            self._failures.add(template, Failure(FailureKind.EMPTY, empty))
            return None
        if rendered.slow:
            self._failures.add(template, Failure(FailureKind.SLOW))
        return rendered.parts


def _reader(firing: Firing, now: datetime) -> Reader:
    """The person as the evaluator knew them."""
    return Reader(locale_named(firing.locale), zone_named(firing.time_zone), now)
