"""A bank's words for a message. Whatever goes wrong, there are none, and the built-in ones are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from jinja2 import TemplateError

from tocsin_dispatcher.planning.local_time import zone_named
from tocsin_dispatcher.rendering.formats import locale_named
from tocsin_dispatcher.rendering.renderer import EmailTexts, PushTexts, Renderer, one_line
from tocsin_dispatcher.rendering.variables import Reader
from tocsin_dispatcher.templating.active import ActiveTemplates
from tocsin_dispatcher.templating.children import SLOW, Children, Failure, FailureKind
from tocsin_dispatcher.templating.choosing import InForce
from tocsin_dispatcher.templating.failures import Failures
from tocsin_dispatcher.values import Channel, Firing, InAppMessage, Part, Told, kind_told

INBOX_LIMIT = timedelta(milliseconds=250)
"""So long an intake waits for banks' words for the inbox, of all its firings together."""
INBOX_SLOW = timedelta(milliseconds=50)
"""Of a processor: what counts against a template that intakes wait for. A usual one takes 0.1 ms, and once, to be
compiled, 5 ms for each kilobyte of its source."""


class Wording:
    """Renders banks' templates in children, by the versions in force."""

    def __init__(self, active: ActiveTemplates, children: Children, failures: Failures, renderer: Renderer) -> None:
        self._active, self._children, self._failures, self._renderer = active, children, failures, renderer
        self._late: set[asyncio.Task[InAppMessage | None]] = set()

    def may_word(self, partner_id: int, told: Told, channel: Channel, reader: Reader) -> bool:
        """Whether a message may have been told in the bank's words, as far as is known without looking."""
        return self._active.known(partner_id).best(kind_told(told), channel, reader.locale) is not None

    async def email(
        self, partner_id: int, told: Told, reader: Reader, unsubscribe_url: Callable[[], str]
    ) -> EmailTexts | None:
        """An e-mail's texts; None: tell the built-in ones. The URL is signed only where there is a template."""
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
        partners = sorted({firing.partner_id for firing in firings})
        in_force = dict(
            zip(partners, await asyncio.gather(*(self._active.of(partner) for partner in partners)), strict=True)
        )
        worded = [firing for firing in firings if _has_words(firing, in_force[firing.partner_id])]
        if not worded:
            return {}
        await self._children.warm_up()
        asked = {firing.id: asyncio.create_task(self._of_firing(firing, now)) for firing in worded}
        done, late = await asyncio.wait(asked.values(), timeout=INBOX_LIMIT.total_seconds())
        self._go_on(late)
        told = {id_: task.result() for id_, task in asked.items() if task in done}
        return {id_: words for id_, words in told.items() if words is not None}

    async def _of_firing(self, firing: Firing, now: datetime) -> InAppMessage | None:
        return await self.in_app(firing.partner_id, firing.context, _reader(firing, now))

    def _go_on(self, late: Iterable[asyncio.Task[InAppMessage | None]]) -> None:
        """Let them end by themselves, so that what takes too long is noted on its template."""
        for task in late:
            self._late.add(task)
            task.add_done_callback(self._late.discard)

    async def _parts(
        self, partner_id: int, told: Told, channel: Channel, reader: Reader, unsubscribe_url: Callable[[], str] = str
    ) -> Mapping[str, str] | None:
        """The parts that the bank's template gives; None where there is none, or it fails, or has failed too often."""
        in_force = await self._active.of(partner_id)
        template = in_force.best(kind_told(told), channel, reader.locale)
        if template is None or self._failures.bars(template):
            return None
        try:
            known = self._renderer.known(told, reader, unsubscribe_url())
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
        if rendered.cpu > (INBOX_SLOW if channel is Channel.IN_APP else SLOW):
            self._failures.add(template, Failure(FailureKind.SLOW))
        return rendered.parts


def _has_words(firing: Firing, in_force: InForce) -> bool:
    locale = locale_named(firing.locale)
    return in_force.best(kind_told(firing.context), Channel.IN_APP, locale) is not None


def _reader(firing: Firing, now: datetime) -> Reader:
    """The person as the evaluator knew them."""
    return Reader(locale_named(firing.locale), zone_named(firing.time_zone), now)
