"""Who has amounts hidden is told none by text message and push, whatever a bank's template does."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest

from tocsin_dispatcher.rendering.renderer import Renderer
from tocsin_dispatcher.rendering.variables import Reader
from tocsin_dispatcher.templating.active import ActiveTemplates
from tocsin_dispatcher.templating.checking import Checks
from tocsin_dispatcher.templating.children import Children, Texts
from tocsin_dispatcher.templating.choosing import InForce
from tocsin_dispatcher.templating.examples import example, reader
from tocsin_dispatcher.templating.failures import Failures
from tocsin_dispatcher.templating.sandbox import rendered
from tocsin_dispatcher.templating.wording import Wording
from tocsin_dispatcher.values import (
    PARTS,
    AccountThresholdContext,
    ActiveTemplate,
    AlertKind,
    Channel,
    Digest,
    DigestMember,
    FiringContext,
    Slot,
    Sources,
    TemplateKind,
    TemplateVersion,
    ThresholdDirection,
    Told,
)

from .conftest import FIRING_ID

AT = datetime(2025, 11, 1, 15, 0, tzinfo=UTC)
RENDERER = Renderer("https://app.example", "First Bank")
LOCALES = ("en-US", "de-DE", "es-ES", "fr-FR", "ja-JP", "de-CH", "en-IN", "ar-EG")
AMOUNTS = (Decimal("87654.32"), Decimal("96385.27"))
PERCENT = 73
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[.,'\u2019\u00a0\u202f\u066b\u066c ](?=\d)")


def firing(kind: AlertKind) -> FiringContext:
    """The kind's example with figures that nothing else in a message looks like."""
    told, left = example(TemplateKind(kind)), iter(AMOUNTS)
    assert isinstance(told, FiringContext)
    own: dict[str, Any] = {one.name: next(left) for one in fields(told) if isinstance(getattr(told, one.name), Decimal)}
    if hasattr(told, "percent"):
        own["percent"] = PERCENT
    return replace(told, **own)


def told_as(kind: TemplateKind) -> Told:
    """What a kind tells; a digest a firing of every kind, and of either direction."""
    if kind is not TemplateKind.DIGEST:
        return firing(AlertKind(kind))
    low = firing(AlertKind.ACCOUNT_THRESHOLD)
    assert isinstance(low, AccountThresholdContext)
    all_ = [*map(firing, AlertKind), replace(low, direction=ThresholdDirection.ABOVE)]
    return Digest(tuple(DigestMember(context, AT) for context in all_))


def figures_in(text: str) -> set[str]:
    """Those of the firing that a text holds, however its locale writes them."""
    digits = re.findall(r"\d+", _BETWEEN_DIGITS.sub("", text))
    shown = ["".join(str(int(digit)) for digit in one) for one in digits]
    wanted = [str(int(amount)) for amount in AMOUNTS] + [str(PERCENT)]
    return {figure for figure in wanted if any(figure in one for one in shown)}


def places(value: object, path: str) -> Iterator[str]:
    """Jinja's names of every text and number in a variable."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from places(inner, f"{path}.{name}")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, inner in enumerate(value):
            yield from places(inner, f"{path}[{index}]")
    else:
        yield path


def everything(told: Told, to: Reader) -> str:
    """A template that prints every variable there is."""
    known = RENDERER.known(told, to)
    return " | ".join(f"{{{{ {place} }}}}" for name in known for place in places(known[name], name))


@dataclass
class InProcess:
    """Children that render here, and a bank's only template."""

    template: ActiveTemplate

    async def render(self, _partner: int, sources: Sources, variables: Mapping[str, object], **_: object) -> Texts:
        return Texts(rendered(sources, variables), timedelta(0))

    async def of(self, _partner: int) -> InForce:
        return InForce.of([self.template])

    def bars(self, _template: ActiveTemplate) -> bool:
        return False


def same(channel: Channel, source: str) -> Sources:
    """The source for each part of a channel's messages."""
    return {part.value: source for part in PARTS[channel]}


def wording(kind: TemplateKind, channel: Channel, source: str) -> Wording:
    """A bank's words for a kind on a channel."""
    slot = Slot(kind, channel, None)
    bank = InProcess(ActiveTemplate(1, FIRING_ID, slot, same(channel, source)))
    return Wording(cast(ActiveTemplates, bank), cast(Children, bank), cast(Failures, bank), RENDERER)


async def told_by(kind: TemplateKind, channel: Channel, to: Reader) -> str:
    """Everything that a bank's template can tell on a channel."""
    told = told_as(kind)
    words = wording(kind, channel, everything(told, to))
    if channel is Channel.SMS:
        return await words.sms(1, told, to) or ""
    pushed = await words.push(1, told, to)
    assert pushed is not None
    return f"{pushed.title}\n{pushed.message}\n{pushed.action_url}"


ALERTS = [TemplateKind(kind) for kind in AlertKind]
every_way = pytest.mark.parametrize(
    ("kind", "channel"),
    [(kind, channel) for kind in (*ALERTS, TemplateKind.DIGEST) for channel in (Channel.SMS, Channel.PUSH)],
)


@every_way
@pytest.mark.parametrize("tag", LOCALES)
async def test_no_variable_of_a_bank_s_template_holds_a_figure(kind: TemplateKind, channel: Channel, tag: str) -> None:
    """Of money or in percent; what else there is to say is said."""
    told = await told_by(kind, channel, reader(tag, hide_amounts=True))
    assert not figures_in(told), told
    assert "0042" in told or kind not in (TemplateKind.TRANSACTION_LIMIT, TemplateKind.DIGEST), "names are told"


@every_way
@pytest.mark.parametrize("tag", LOCALES)
async def test_who_has_not_hidden_them_is_told_all(kind: TemplateKind, channel: Channel, tag: str) -> None:
    """And so the test above would see any that is left."""
    told = await told_by(kind, channel, reader(tag))
    of_kind = {str(int(value)) for value in figures_of(told_as(kind))}
    assert figures_in(told) == of_kind, told


def figures_of(told: Told) -> Iterator[Decimal | int]:
    """Of one firing, or of all in a digest."""
    if isinstance(told, Digest):
        for member in told.members:
            yield from figures_of(member.context)
        return
    for one in fields(cast(FiringContext, told)):
        value = getattr(told, one.name)
        if isinstance(value, Decimal) or one.name == "percent":
            yield value


@every_way
@pytest.mark.parametrize("tag", ["en-US", "de-DE", "es-ES", "fr-FR", "ja-JP"])
def test_title_and_message_are_the_built_in_words_without_figures(
    kind: TemplateKind, channel: Channel, tag: str
) -> None:
    """As a push message has them: whole sentences, with no mark of something left out."""
    to = reader(tag, hide_amounts=True)
    known, pushed = RENDERER.known(told_as(kind), to), RENDERER.push(told_as(kind), to)
    assert (known["title"], known["message"]) == (pushed.title, pushed.message)
    assert "*" not in pushed.title + pushed.message + RENDERER.sms(told_as(kind), to)


@pytest.mark.parametrize(
    ("channel", "shown"),
    [
        (Channel.SMS, "***"),
        (Channel.PUSH, "***"),
        # an e-mail and the inbox are opened by who reads them
        (Channel.EMAIL, "$1,500.00"),
        (Channel.IN_APP, "$1,500.00"),
    ],
)
async def test_a_preview_hides_them_where_messages_do(channel: Channel, shown: str) -> None:
    """So does a version that is checked or sent as a test, which goes the same way."""
    sources = same(channel, "{{ current_amount }}")
    slot = Slot(TemplateKind.GOAL, channel, None)
    bank = InProcess(ActiveTemplate(1, FIRING_ID, slot, sources))
    version = TemplateVersion(1, FIRING_ID, slot, 1, "", sources, (), False, None, AT, "", 0, None, "")
    checks = Checks(cast(Children, bank), RENDERER)
    parts = await checks.rendered(version, example(TemplateKind.GOAL), reader("en-US", hide_amounts=True))
    assert parts == same(channel, shown)
