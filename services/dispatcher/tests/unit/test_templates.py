"""Which version a reader gets, when one is left alone, and what examples there are."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from tocsin_dispatcher.planning.gate import GATE, OF_NO_ALERT
from tocsin_dispatcher.rendering.formats import locale_named
from tocsin_dispatcher.rendering.loading import read_template
from tocsin_dispatcher.rendering.renderer import Renderer
from tocsin_dispatcher.templating.checking import Checks, Unfit
from tocsin_dispatcher.templating.children import Children
from tocsin_dispatcher.templating.choosing import InForce, candidates
from tocsin_dispatcher.templating.examples import NoSuchValue, edges, example, of_today, reader
from tocsin_dispatcher.templating.quarantine import PAUSE, WITHIN, Quarantine
from tocsin_dispatcher.values import (
    AccountThresholdContext,
    ActiveTemplate,
    Channel,
    Slot,
    TemplateKind,
    UpcomingBillContext,
    kind_told,
)

NOW = datetime(2025, 11, 1, 15, 0, tzinfo=UTC)
VERSION = UUID("01935f4e-0000-7000-8000-000000000009")
GOAL = TemplateKind.GOAL


@pytest.mark.parametrize(
    ("tag", "wanted"),
    [
        ("de-AT", ["de-AT", "de", None]),
        ("de", ["de", None]),
        ("zh-Hant-HK", ["zh-Hant-HK", "zh-Hant", "zh", None]),  # Chinese in its script before any other
        ("", ["en-US", "en", None]),
        ("xx-nonsense", ["en-US", "en", None]),
    ],
)
def test_a_version_is_looked_for_from_the_exact_locale_to_any(tag: str, wanted: list[str | None]) -> None:
    """Exact locale, language, the bank's for every other."""
    assert candidates(locale_named(tag)) == wanted


@pytest.mark.parametrize(
    ("there", "told_by"),
    [
        (["de-AT", "de", None], "de-AT"),
        (["de", None], "de"),
        (["de-DE", None], None),  # another region's is none of its language's
        (["fr", None], None),
    ],
)
def test_the_nearest_version_is_told(there: list[str | None], told_by: str | None) -> None:
    """And for another kind or channel none is."""
    slots = [Slot(GOAL, Channel.EMAIL, locale) for locale in there]
    in_force = InForce.of(ActiveTemplate(1, VERSION, slot, {}) for slot in slots)
    best = in_force.best(GOAL, Channel.EMAIL, locale_named("de-AT"))
    assert best is not None
    assert best.slot.locale == told_by
    assert in_force.best(GOAL, Channel.SMS, locale_named("de-AT")) is None
    assert in_force.best(TemplateKind.DIGEST, Channel.EMAIL, locale_named("de-AT")) is None
    assert InForce().best(GOAL, Channel.EMAIL, locale_named("de-AT")) is None


def test_three_failures_within_a_minute_bar_a_version_for_a_while() -> None:
    """Then it is tried again."""
    quarantine = Quarantine()
    for seconds in (0, 30):
        quarantine.failed(VERSION, NOW + timedelta(seconds=seconds))
        assert not quarantine.bars(VERSION, NOW + timedelta(seconds=seconds))
    third = NOW + timedelta(seconds=60)
    quarantine.failed(VERSION, third)
    assert quarantine.bars(VERSION, third)
    assert quarantine.bars(VERSION, third + PAUSE - timedelta(seconds=1))
    assert not quarantine.bars(UUID(int=1), third), "others are tried"
    assert not quarantine.bars(VERSION, third + PAUSE)
    quarantine.failed(VERSION, third + PAUSE)
    assert not quarantine.bars(VERSION, third + PAUSE), "it begins anew"


def test_failures_now_and_then_bar_nothing() -> None:
    """Three of them, but never in one minute."""
    quarantine = Quarantine()
    for number in range(6):
        at = NOW + number * (WITHIN / 2 + timedelta(seconds=1))
        quarantine.failed(VERSION, at)
        assert not quarantine.bars(VERSION, at)


@pytest.mark.parametrize("kind", TemplateKind)
def test_every_kind_has_an_example_of_its_own(kind: TemplateKind) -> None:
    """And its edges are of the same kind."""
    assert kind_told(example(kind)) is kind
    assert {kind_told(told) for told in edges(kind)} == {kind}


@pytest.mark.parametrize(
    ("kind", "values", "wrong"),
    [
        (GOAL, {"percent": "90", "goal": "Boat"}, None),
        (TemplateKind.VERIFICATION, {"code": "000111", "minutes": "5"}, None),
        (GOAL, {"boat": "x"}, "there is no value 'boat'"),
        (GOAL, {"goal": "Boat", "percent": "many"}, "'percent' is no such number"),
        (GOAL, {"current_amount": "1,5"}, "'current_amount' is no such number"),
        (GOAL, {"current_amount": "1e400"}, "'current_amount' is no such number"),
        (GOAL, {"current_amount": "NaN"}, "'current_amount' is no such number"),
        (GOAL, {"target_amount": "9" * 15}, "'target_amount' is no such number"),
        (TemplateKind.UPCOMING_BILL, {"due_on": "2025-13-01"}, "no such number"),
        (TemplateKind.VERIFICATION, {"minutes": "9" * 30}, "no such number"),
        (TemplateKind.SYSTEM, {"notice": "party"}, "there is no value 'notice'"),
        (TemplateKind.DIGEST, {"members": "x"}, "there is no value 'members'"),
    ],
)
def test_values_take_the_place_of_an_example_s(
    kind: TemplateKind, values: Mapping[str, str], wrong: str | None
) -> None:
    """Those that it has, if they are such values."""
    if wrong is None:
        assert example(kind, values) != example(kind)
    else:
        with pytest.raises(NoSuchValue, match=wrong):
            example(kind, values)


@pytest.mark.parametrize("kind", TemplateKind)
@pytest.mark.parametrize("value", ["1e400", "9" * 400, "0001-01-01", "9999-12-31T23:59:59+00:00", "-5", "", "x", "٣"])
def test_whatever_value_is_given_it_is_told_or_named(kind: TemplateKind, value: str) -> None:
    """A bank's staff may type anything: nothing of it ends a preview otherwise."""
    checks = Checks(Children(), Renderer("https://app.example", "First Bank"))
    for name in {} if kind is TemplateKind.DIGEST else json.loads(read_template(f"{kind}/example.json")):
        said = f"'{name}' is told"
        try:
            checks.renderer.known(checks.example(kind, {name: value}, reader("de-DE")), reader("de-DE"))
        except NoSuchValue as refusal:
            said = str(refusal)
        assert f"'{name}'" in said


@pytest.mark.parametrize(
    ("kind", "channels"),
    [
        (TemplateKind.SYSTEM, (Channel.EMAIL, Channel.SMS, Channel.IN_APP)),
        (TemplateKind.VERIFICATION, (Channel.PUSH, Channel.IN_APP)),
        (TemplateKind.DIGEST, (Channel.IN_APP,)),
    ],
)
async def test_what_is_never_told_on_a_channel_cannot_be_worded_for_it(
    kind: TemplateKind, channels: Sequence[Channel]
) -> None:
    """A bank that adds such a version learns so at once."""
    checks = Checks(Children(), Renderer("https://app.example", "First Bank"))
    for channel in channels:
        with pytest.raises(Unfit, match="is never told there") as refusal:
            await checks.variables(1, Slot(kind, channel, None), {"text": "Hello"})
        assert refusal.value.part == "channel"


def test_an_example_told_today_has_a_bill_that_is_due_soon() -> None:
    """As many days from now as it was from the examples' own day; other examples stay as they are."""
    bill = of_today(example(TemplateKind.UPCOMING_BILL), datetime(2026, 5, 30, 12, tzinfo=UTC))
    assert isinstance(bill, UpcomingBillContext)
    assert bill.due_on == date(2026, 6, 1)
    threshold = example(TemplateKind.ACCOUNT_THRESHOLD)
    assert isinstance(threshold, AccountThresholdContext)
    assert of_today(threshold, NOW) == threshold


def test_a_trial_passes_only_stages_that_every_delivery_passes() -> None:
    """In the same order."""
    assert [stage for stage in GATE if stage in OF_NO_ALERT] == list(OF_NO_ALERT)
