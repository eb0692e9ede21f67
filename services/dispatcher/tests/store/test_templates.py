"""Banks' versions on a real database: numbered, activated, rolled back, followed by replicas, and noted to fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from tocsin_dispatcher.addresses import address_hash
from tocsin_dispatcher.announcing import Announcer
from tocsin_dispatcher.doors.translate import change_to_event
from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.rendering.links import action_url
from tocsin_dispatcher.rendering.renderer import Renderer
from tocsin_dispatcher.store import tables
from tocsin_dispatcher.store import templates as store
from tocsin_dispatcher.store.recipients import Defaults
from tocsin_dispatcher.templating.active import FRESH_FOR, ActiveTemplates
from tocsin_dispatcher.templating.checking import Checks, Unfit
from tocsin_dispatcher.templating.children import Children, Failure, FailureKind
from tocsin_dispatcher.templating.examples import example, reader
from tocsin_dispatcher.templating.failures import Failures
from tocsin_dispatcher.templating.push_tests import PushTests
from tocsin_dispatcher.templating.quarantine import PAUSE
from tocsin_dispatcher.templating.trials import A_DAY, Trials
from tocsin_dispatcher.templating.versions import Versions
from tocsin_dispatcher.templating.wording import Wording
from tocsin_dispatcher.unsubscribe import UnsubscribeLinks
from tocsin_dispatcher.values import Channel, InAppMessage, Part, Slot, TemplateKind, TemplateVersion
from tocsin_kit.activity import Activity
from tocsin_kit.loops import Bell
from tocsin_kit.postgres.idempotency import IdempotencyConflict, RequestKey
from tocsin_kit.postgres.outbox import Outbox
from tocsin_kit.rpc.errors import Reason, TocsinError
from tocsin_kit.telemetry.metrics import Metrics

from .bench import ADDRESS_KEY, Bench, ScriptedWay
from .conftest import MakeBench

PATIENT = timedelta(seconds=20)
GOAL_SMS = Slot(TemplateKind.GOAL, Channel.SMS, None)
GOAL = example(TemplateKind.GOAL)
EN = reader("en-US")
RENDERER = Renderer("https://app.example", "First Bank")
BANK, OTHER_BANK = 1, 2
#: Fine with the example, and not with the goal called Boat.
TURNS = "{{% if goal == 'Boat' %}}{}{{% else %}}fine{{% endif %}}"
BOAT = example(TemplateKind.GOAL, {"goal": "Boat"})


@dataclass
class Desk:
    """A bank's staff at a replica."""

    bench: Bench
    children: Children
    versions: Versions
    active: ActiveTemplates
    failures: Failures
    wording: Wording
    trials: Trials

    async def add(
        self, source: str, slot: Slot = GOAL_SMS, partner_id: int = BANK, request: str = ""
    ) -> TemplateVersion:
        """Add a version of one part."""
        id_ = request or str(self.bench.ids.uuid7())
        once = RequestKey(partner_id, "staff", "CreateTemplate", id_)
        sources = {Part.TEXT.value: source}
        return await self.versions.add(partner_id, slot, "", sources, "staff", once, source.encode())

    async def activate(self, source: str, slot: Slot = GOAL_SMS, partner_id: int = BANK) -> TemplateVersion:
        """Add a version and have it told."""
        added = await self.add(source, slot, partner_id)
        return await self.versions.activate(partner_id, added.id, "staff")

    async def told(self, partner_id: int = BANK) -> str | None:
        """The goal by text message, in the bank's words."""
        return await self.wording.sms(partner_id, GOAL, EN)


def desk(bench: Bench, limit: timedelta = PATIENT) -> Desk:
    """A desk at the bench's replica."""
    engine, clock, ids = bench.engine, bench.clock, bench.ids
    renderer, defaults = RENDERER, Defaults(10, 50)
    children, active = Children(limit=limit, patience=PATIENT), ActiveTemplates(engine, clock)
    metrics = Metrics(CollectorRegistry())
    failures = Failures(engine, clock, metrics, Bell(Activity()))
    checks = Checks(children, renderer)
    versions = Versions(engine, clock, ids, checks, active, defaults)
    announcer = Announcer(Outbox.on(tables.outbox, Activity(), "dispatcher"), change_to_event, metrics)
    links = UnsubscribeLinks({"1": b"a key"}, "https://tocsin.example")
    bells = {channel: Bell(bench.activity) for channel in Channel}
    trials = Trials(engine, clock, ids, versions, checks, links, announcer, bells, defaults)
    return Desk(bench, children, versions, active, failures, Wording(active, children, failures, renderer), trials)


@pytest_asyncio.fixture
async def staff(benches: MakeBench) -> AsyncIterator[Desk]:
    """One replica's desk."""
    made = desk(await benches(ScriptedWay(Channel.SMS)))
    yield made
    await made.children.close()


class Statements:
    """Counts the statements on an engine that mention a word."""

    def __init__(self, engine: AsyncEngine, word: str) -> None:
        self.count, self._word = 0, word
        event.listen(engine.sync_engine, "before_cursor_execute", self._heard)

    def _heard(self, _connection: object, _cursor: object, statement: str, *_more: object) -> None:
        self.count += self._word in statement


async def test_versions_are_numbered_within_what_they_are_for(staff: Desk) -> None:
    """Also when several are added at once."""
    added = await asyncio.gather(*(staff.add(f"text {n}") for n in range(5)))
    german = await staff.add("Text", GOAL_SMS._replace(locale="de"))
    others = await staff.add("text", partner_id=OTHER_BANK)
    assert sorted(one.version for one in added) == [1, 2, 3, 4, 5]
    assert (german.version, others.version) == (1, 1)


async def test_a_repeated_request_gets_the_version_it_added(staff: Desk) -> None:
    """And with another text it is a conflict."""
    first = await staff.add("text", request="one")
    assert await staff.add("text", request="one") == first
    with pytest.raises(IdempotencyConflict):
        await staff.add("another", request="one")


async def test_a_version_comes_back_as_it_was_given(staff: Desk) -> None:
    """Sources of every sort of character, and the variables they use."""
    source = "{{ goal }} ✓ „ü“ {{ percent }}\n\t' \\ {# c #}"
    added = await staff.add(source, Slot(TemplateKind.GOAL, Channel.SMS, "zh-Hant-HK"))
    got = await staff.versions.get(BANK, added.id)
    assert got == added
    assert (got.sources, got.variables, got.slot.locale) == ({"text": source}, ("goal", "percent"), "zh-Hant-HK")
    with pytest.raises(TocsinError, match="not found"):
        await staff.versions.get(OTHER_BANK, added.id)


async def test_one_version_is_told_and_rolling_back_goes_all_the_way(staff: Desk) -> None:
    """v1, v2, v1 again: back to v2, to v1, to the built-in words."""
    assert await staff.told() is None
    one, two = await staff.activate("one {{ goal }}"), await staff.activate("two")
    assert await staff.told() == "two"
    await staff.versions.activate(BANK, one.id, "staff")
    assert await staff.told() == "one Summer holiday"
    active = await staff.versions.page(BANK, store.WantedTemplates(only_active=True), 10, None)
    assert [version.id for version in active] == [one.id]

    for id_, then in ((one.id, "two"), (two.id, "one Summer holiday"), (one.id, None)):
        await staff.versions.roll_back(BANK, id_, "staff")
        assert await staff.told() == then
    with pytest.raises(TocsinError) as refused:
        await staff.versions.roll_back(BANK, one.id, "staff")
    assert refused.value.reason is Reason.STATE_CONFLICT
    actions = await staff.bench.rows("SELECT action, count(*) AS times FROM audit_log GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in actions] == [("activate_template", 3), ("roll_back_template", 3)]


async def test_activating_what_is_active_changes_nothing_that_was_before(staff: Desk) -> None:
    """It can be rolled back to what was before it."""
    await staff.activate("one")
    two = await staff.activate("two")
    await staff.versions.activate(BANK, two.id, "staff")
    before = await staff.versions.roll_back(BANK, two.id, "staff")
    assert before is not None
    assert await staff.told() == "one"


async def test_two_activations_at_once_leave_one_version_active(staff: Desk) -> None:
    """Whichever came last."""
    added = [await staff.add(f"text {n}") for n in range(6)]
    await asyncio.gather(*(staff.versions.activate(BANK, one.id, "staff") for one in added))
    active = await staff.bench.rows("SELECT id FROM templates WHERE active")
    assert len(active) == 1


async def test_another_replica_follows_within_a_second(benches: MakeBench) -> None:
    """By its revision; until then it tells what it knew."""
    here, there = desk(await benches()), desk(await benches())
    assert await there.told() is None
    await here.activate("one")
    assert await here.told() == "one"
    assert await there.told() is None
    there.bench.clock.advance(FRESH_FOR)
    assert await there.told() == "one"
    for each in (here, there):
        await each.children.close()


async def test_a_batch_of_many_banks_is_looked_up_by_one_statement(staff: Desk) -> None:
    """And within the second by none."""
    for bank in (1, 2, 3):
        await staff.activate(f"bank {bank}", partner_id=bank)
    fresh, looked = (
        ActiveTemplates(staff.bench.engine, staff.bench.clock),
        Statements(staff.bench.engine, "template_partners"),
    )
    found = await asyncio.gather(*(fresh.of(bank) for bank in [1, 2, 3, *range(100, 300)] * 3))
    assert looked.count == 1
    assert [len(in_force.by_slot) for in_force in found[:4]] == [1, 1, 1, 0]
    await asyncio.gather(*(fresh.of(bank) for bank in range(1, 300)))
    assert looked.count == 2, "of those that nobody had asked about"
    await asyncio.gather(*(fresh.of(bank) for bank in range(1, 300)))
    assert looked.count == 2


async def test_who_asks_is_told_whatever_there_is_no_room_to_keep(staff: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bank with very many templates must not take the words of those that ask with it."""
    for bank in (1, 2, 3):
        await staff.activate(f"the words of bank {bank}", partner_id=bank)
    monkeypatch.setattr("tocsin_dispatcher.templating.active._MOST_KEPT", 30)
    fresh = ActiveTemplates(staff.bench.engine, staff.bench.clock)
    for _ in range(2):
        found = await asyncio.gather(*(fresh.of(bank) for bank in (1, 2, 3)))
        assert [len(in_force.by_slot) for in_force in found] == [1, 1, 1]
        staff.bench.clock.advance(FRESH_FOR)


async def test_a_bank_has_no_more_in_force_than_every_replica_can_keep(
    staff: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is activated in place of another counts instead of it."""
    monkeypatch.setattr("tocsin_dispatcher.templating.versions.MOST_IN_FORCE", 100)
    await staff.activate("a" * 60)
    with pytest.raises(TocsinError) as refused:
        await staff.activate("b" * 60, GOAL_SMS._replace(locale="de"))
    assert refused.value.reason is Reason.STATE_CONFLICT
    assert await staff.told() == "a" * 60
    await staff.activate("c" * 90)
    assert await staff.told() == "c" * 90
    assert [row.body for row in await staff.bench.rows("SELECT body FROM templates WHERE active")] == ["c" * 90]


async def test_without_a_database_the_words_known_before_are_told(staff: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt whose provider answers needs no more of the database than its own rows."""
    await staff.activate("one")
    assert await staff.told() == "one"

    def away() -> None:
        raise OSError("the database is away")

    monkeypatch.setattr(AsyncEngine, "connect", lambda _self: away())
    staff.bench.clock.advance(timedelta(minutes=1))
    assert await staff.told() == "one"
    assert await ActiveTemplates(staff.bench.engine, staff.bench.clock).of(BANK)


@pytest.mark.parametrize(
    ("source", "kind", "noted"),
    [
        ("{{ 1 / 0 }}", FailureKind.ERROR, "text, line 1: error"),
        ("{{ 'a' * 300000000 }}", FailureKind.MEMORY, "memory"),
        ("{% for n in range(1000) %}{{ 'a' * 1000 }}{% endfor %}", FailureKind.TOO_LARGE, "text: too_large"),
        ("  ", FailureKind.EMPTY, "text: empty"),
    ],
)
async def test_a_failure_is_counted_noted_and_after_three_not_risked_again(
    staff: Desk, source: str, kind: FailureKind, noted: str
) -> None:
    """The built-in words are told each time; other goals are told in the bank's until it is left alone."""
    version = await staff.activate(TURNS.format(source))
    assert await staff.told() == "fine"
    for _ in range(3):
        assert await staff.wording.sms(BANK, BOAT, EN) is None
    assert await staff.told() is None, "it is left alone"
    await staff.failures.round()
    got = await staff.versions.get(BANK, version.id)
    assert (got.failures, got.last_failure, got.last_failed_at) == (3, noted, staff.bench.clock.now())
    staff.bench.clock.advance(PAUSE)
    assert await staff.told() == "fine"


async def test_a_template_that_hangs_costs_its_message_the_limit_and_three_times_at_most(benches: MakeBench) -> None:
    """A hundred messages at once are all told in built-in words; another bank's are told meanwhile."""
    hasty = desk(await benches(), limit=timedelta(seconds=0.5))
    loops = "".join(f"{{% for n{depth} in range(1000) %}}" for depth in range(5)) + "{% endfor %}" * 5
    version = await hasty.activate(TURNS.format(loops))
    await hasty.activate("other", partner_id=OTHER_BANK)
    hanging = [asyncio.create_task(hasty.wording.sms(BANK, BOAT, EN)) for _ in range(100)]
    assert await hasty.told(OTHER_BANK) == "other"
    assert not any(task.done() for task in hanging)
    assert set(await asyncio.gather(*hanging)) == {None}
    await hasty.failures.round()
    assert (await hasty.versions.get(BANK, version.id)).failures == 3
    await hasty.children.close()


async def test_an_inbox_waits_a_moment_for_a_bank_s_words_and_no_longer(benches: MakeBench) -> None:
    """What hangs is told in built-in words; another bank's firing of the same batch in its own."""
    hasty = desk(await benches(), limit=timedelta(seconds=3))
    loops = "".join(f"{{% for n{depth} in range(1000) %}}" for depth in range(5)) + "{% endfor %}" * 5
    slot = Slot(TemplateKind.TRANSACTION_LIMIT, Channel.IN_APP, None)
    words = {
        "subject": "Title",
        "text": f"{{% if description == 'CITY ELECTRONICS 0042' %}}x{{% else %}}{loops}{{% endif %}}",
    }
    for bank, sources in ((BANK, words), (OTHER_BANK, {"subject": "Title", "text": "Other {{ amount }}"})):
        once = RequestKey(bank, "staff", "CreateTemplate", "1")
        added = await hasty.versions.add(bank, slot, "", sources, "staff", once, b"")
        await hasty.versions.activate(bank, added.id, "staff")
    ours, theirs = hasty.bench.firing(), hasty.bench.firing(partner_id=OTHER_BANK)
    async with asyncio.timeout(2):
        told = await hasty.wording.inbox([ours, theirs], hasty.bench.clock.now())
    url = action_url(theirs.context, "https://app.example")
    assert told == {theirs.id: InAppMessage("Title", "Other $812.00", url)}
    await hasty.children.close()


async def test_an_inbox_template_that_is_slow_each_time_is_left_alone(staff: Desk) -> None:
    """Intakes wait for it, those of other banks' firings too: what an e-mail may take is too long there."""
    pause = "".join(f"{{% for n{depth} in range(1000) %}}" for depth in range(2)) + "{% endfor %}" * 2
    slot = Slot(TemplateKind.TRANSACTION_LIMIT, Channel.IN_APP, None)
    once = RequestKey(BANK, "staff", "CreateTemplate", "1")
    slow = {"subject": "Title", "text": pause * 5 + "{{ amount }}"}
    added = await staff.versions.add(BANK, slot, "", slow, "staff", once, b"")
    activated = await staff.versions.activate(BANK, added.id, "staff")
    (template,) = (await staff.active.of(BANK)).by_slot.values()
    for number in range(3):
        assert not staff.failures.bars(template), number
        firing = staff.bench.firing()
        words = await staff.wording.in_app(BANK, firing.context, EN)
        assert words is not None, "what it took is there: it is told"
    assert staff.failures.bars(template)
    assert await staff.wording.inbox([staff.bench.firing()], staff.bench.clock.now()) == {}
    await staff.failures.round()
    noted = await staff.versions.get(BANK, activated.id)
    assert (noted.failures, noted.last_failure) == (3, "slow")


async def test_no_free_child_is_counted_but_not_held_against_the_template(staff: Desk) -> None:
    """Neither noted nor a reason to leave it alone."""
    version = await staff.activate("one")
    (template,) = (await staff.active.of(BANK)).by_slot.values()
    for _ in range(5):
        staff.failures.add(template, Failure(FailureKind.BUSY))
    await staff.failures.round()
    assert (await staff.versions.get(BANK, version.id)).failures == 0
    assert await staff.told() == "one"


async def test_what_is_only_wrong_in_another_language_is_not_activated(staff: Desk) -> None:
    """A version for every locale is tried in each; one for one locale in that."""
    bad = "{% if when == 'morgen' %}{{ 1 / 0 }}{% endif %}due {{ when }}"
    slot = Slot(TemplateKind.UPCOMING_BILL, Channel.SMS, None)
    with pytest.raises(Unfit, match="line 1: division by zero"):
        await staff.activate(bad, slot)
    assert (await staff.activate(bad, slot._replace(locale="fr"))).active


async def test_a_subject_of_two_lines_is_not_activated(staff: Desk) -> None:
    """It would be a header of two lines; around a single one, lines may be empty."""
    slot = Slot(TemplateKind.GOAL, Channel.PUSH, None)
    for subject, refused in (("\nGoal\n", False), ("Goal\nreached", True), ("{{ goal }}\r\nBcc: x", True)):
        once = RequestKey(BANK, "staff", "CreateTemplate", subject)
        added = await staff.versions.add(BANK, slot, "", {"subject": subject, "text": "x"}, "staff", once, b"")
        if refused:
            with pytest.raises(Unfit, match="more than one line"):
                await staff.versions.activate(BANK, added.id, "staff")
        else:
            assert (await staff.versions.activate(BANK, added.id, "staff")).active


async def test_a_text_message_takes_no_more_segments_than_its_bank_allows(staff: Desk) -> None:
    """One, unless it has chosen more; the other bank has."""
    await staff.bench.execute(
        "INSERT INTO partner_settings (partner_id, sms_segments, updated_at) VALUES (:bank, 3, :now)",
        bank=OTHER_BANK,
        now=staff.bench.clock.now(),
    )
    long = "{{ goal }} " * 12
    with pytest.raises(Unfit, match="takes 2 segments in en-US, of 1 that are allowed"):
        await staff.activate(long)
    assert (await staff.activate(long, partner_id=OTHER_BANK)).active


async def test_what_is_taken_in_shows_the_bank_s_words_in_the_inbox(staff: Desk) -> None:
    """And never changes: they are stored with the notification."""
    slot = Slot(TemplateKind.TRANSACTION_LIMIT, Channel.IN_APP, None)
    once = RequestKey(BANK, "staff", "CreateTemplate", "1")
    words = {"subject": "Mind {{ description }}", "text": "{{ amount }}!"}
    added = await staff.versions.add(BANK, slot, "", words, "staff", once, b"")
    await staff.versions.activate(BANK, added.id, "staff")
    intake = replace(staff.bench.intake, words=staff.wording.inbox)
    assert await intake.take_in([staff.bench.firing(), staff.bench.firing(partner_id=OTHER_BANK)]) == []
    shown = await staff.bench.rows("SELECT title, message FROM notifications ORDER BY partner_id")
    assert [tuple(row) for row in shown] == [
        ("Mind Wheel of cheese", "$812.00!"),
        ("Large transaction", "Large one of Large ones"),
    ]


async def test_trials_of_a_day_are_counted_at_once(staff: Desk) -> None:
    """With many at the same time, exactly so many leave; the next day there are new ones."""
    await staff.bench.profile()
    version = await staff.add("Hello {{ goal }}")

    async def tried() -> UUID | TocsinError:
        try:
            return await staff.trials.send(BANK, version.id, 1, "staff")
        except TocsinError as refusal:
            return refusal

    answers = await asyncio.gather(*(tried() for _ in range(A_DAY + 5)))
    refused = [answer for answer in answers if isinstance(answer, TocsinError)]
    assert [one.reason for one in refused] == [Reason.RATE_LIMITED] * 5
    assert len(await staff.bench.rows("SELECT 1 FROM deliveries WHERE purpose = 'test'")) == A_DAY
    staff.bench.clock.advance(timedelta(days=1))
    assert isinstance(await tried(), UUID)


async def test_a_trial_leaves_by_the_worker_as_it_was_rendered(staff: Desk) -> None:
    """In one attempt; it takes no token, asks for no preference, and is gone with its delivery."""
    await staff.bench.profile()
    await staff.bench.execute(
        "INSERT INTO preferences (partner_id, user_id, sms_enabled, updated_at) VALUES (1, 1, false, :now)",
        now=staff.bench.clock.now(),
    )
    version = await staff.add("Hello {{ goal }}")
    sent = await staff.trials.send(BANK, version.id, 1, "staff")
    async with staff.bench.working():
        pass
    delivery = await staff.bench.delivery()
    assert (delivery.id, delivery.status, delivery.notification_id, delivery.attempt) == (sent, "sent", None, 1)
    assert delivery.destination == "+13125550123"
    assert await staff.bench.rows("SELECT 1 FROM counters") == []
    (trial,) = await staff.bench.rows("SELECT body, template_id FROM template_trials")
    assert tuple(trial) == ("Hello Summer holiday", version.id)
    await staff.bench.execute("DELETE FROM deliveries")
    assert await staff.bench.rows("SELECT 1 FROM template_trials") == []


async def test_a_trial_hides_amounts_from_who_has_them_hidden(staff: Desk) -> None:
    """As the message would that it shows."""
    await staff.bench.profile()
    version = await staff.add("{{ message }} {{ current_amount }}")
    told = {
        False: "Your goal 'Summer holiday' has reached 75% completion! $1,500.00",
        True: "Your goal 'Summer holiday' has reached a milestone! ***",
    }
    for hidden, words in told.items():
        await staff.bench.execute(
            "INSERT INTO preferences (partner_id, user_id, hide_amounts, updated_at) VALUES (1, 1, :hidden, :now)"
            " ON CONFLICT (partner_id, user_id) DO UPDATE SET hide_amounts = :hidden",
            hidden=hidden,
            now=staff.bench.clock.now(),
        )
        sent = await staff.trials.send(BANK, version.id, 1, "staff")
        (trial,) = await staff.bench.rows("SELECT body FROM template_trials WHERE delivery_id = :id", id=sent)
        assert trial.body == words


async def test_a_test_of_a_browser_is_in_its_reader_s_language_and_in_the_bank_s_words(staff: Desk) -> None:
    """By push only, so that no other version of it can be added; of whom nothing is known reads English."""
    bench, slot = staff.bench, Slot(TemplateKind.SYSTEM, Channel.PUSH, None)
    await bench.profile()
    await bench.execute("UPDATE contacts SET locale = 'de-AT'")
    tests = PushTests(bench.engine, bench.clock, staff.wording, RENDERER, Defaults(10, 50))
    assert (await tests.texts(UserKey(BANK, 1))).title == "Eine Testnachricht"
    once = RequestKey(BANK, "staff", "CreateTemplate", "1")
    words = {"subject": "{{ title }}!", "text": "{{ sender }} says hello"}
    added = await staff.versions.add(BANK, slot, "", words, "staff", once, b"")
    await staff.versions.activate(BANK, added.id, "staff")
    told = await tests.texts(UserKey(BANK, 1))
    assert (told.title, told.message) == ("Eine Testnachricht!", "First Bank says hello")
    assert told.action_url == "https://app.example/notifications"
    assert (await tests.texts(UserKey(OTHER_BANK, 1))).message == "Messages from First Bank arrive here."


async def test_a_trial_to_a_suppressed_address_is_not_sent(staff: Desk) -> None:
    """STOP beats whatever a bank's staff wants to try."""
    await staff.bench.profile()
    hashed = address_hash(ADDRESS_KEY, 1, Channel.SMS, "+13125550123")
    await staff.bench.execute(
        "INSERT INTO suppressions (partner_id, channel, address_hash, reason, source, at)"
        " VALUES (1, 'sms', :hashed, 'stopped', 'test', :now)",
        hashed=hashed,
        now=staff.bench.clock.now(),
    )
    version = await staff.add("Hello {{ goal }}")
    await staff.trials.send(BANK, version.id, 1, "staff")
    async with staff.bench.working():
        pass
    delivery = await staff.bench.delivery()
    assert (delivery.status, delivery.reason) == ("suppressed", "suppressed_stopped")
    assert staff.bench.way.calls == []


@pytest.mark.parametrize(
    ("user_id", "slot", "reason"),
    [
        (99, GOAL_SMS, Reason.NOT_FOUND),  # nobody, or another bank's
        (1, GOAL_SMS._replace(channel=Channel.PUSH), Reason.STATE_CONFLICT),
    ],
)
async def test_a_trial_that_can_reach_nobody_is_refused(staff: Desk, user_id: int, slot: Slot, reason: Reason) -> None:
    """At once, and costs none of the day's."""
    await staff.bench.profile()
    version = await staff.add("Hello", slot)
    with pytest.raises(TocsinError) as refused:
        await staff.trials.send(BANK, version.id, user_id, "staff")
    assert refused.value.reason is reason
    assert await staff.bench.rows("SELECT 1 FROM deliveries") == []


async def test_active_versions_and_new_numbers_are_found_by_their_indexes(staff: Desk) -> None:
    """Among a hundred thousand versions of a thousand banks."""
    bench = staff.bench
    await bench.execute(
        """
INSERT INTO templates (partner_id, id, kind, channel, version, name, subject, body, html, variables, active, created_at,
    created_by)
SELECT i % 1000, uuidv7(), 'goal', 'sms', i / 1000, '', '', 'text', '', '{}', i / 1000 = 99, :at, ''
  FROM generate_series(0, 99999) i
""",
        at=bench.clock.now(),
    )
    await bench.execute(
        "INSERT INTO template_partners (partner_id, revision) SELECT i, 1 FROM generate_series(0, 999) i"
    )
    for table in ("templates", "template_partners"):
        await bench.execute(f"ANALYZE {table}")
    none = dict.fromkeys(("kind", "channel", "locale", "after_at", "after_id"))
    insert = {
        **{"partner_id": 7, "id": bench.ids.uuid7(), "kind": "goal", "channel": "sms", "locale": None, "name": ""},
        **{"subject": "", "body": "", "html": "", "variables": [], "now": bench.clock.now(), "created_by": ""},
    }
    for statement, values, index in (
        (store._NEWS, {"w_partner_id": [7, 8, 9], "w_revision": [0, 0, 1]}, "templates_active"),
        (store._INSERT, insert, "templates_"),
        (store._DEACTIVATE, {"partner_id": 7, "id": bench.ids.uuid7()}, "templates_active"),
        (store._IN_FORCE, {"partner_id": 7}, "templates_active"),
        (store._LIST, {**none, "partner_id": 7, "only_active": False, "size": 50}, "templates_listed"),
    ):
        explained = text(f"EXPLAIN {statement.text}").bindparams(*statement._bindparams.values())
        async with bench.engine.connect() as connection:
            plan = "\n".join((await connection.execute(explained, values)).scalars())
        assert index in plan, plan
        assert "Seq Scan on templates" not in plan, plan
