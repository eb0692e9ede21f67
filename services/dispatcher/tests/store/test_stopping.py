"""What is said of addresses, in whatever order it comes, and what the worker makes of it."""

import asyncio
import itertools
import json
from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import urlencode

import pytest

from tocsin_dispatcher.addresses import address_hash
from tocsin_dispatcher.keys import UserKey
from tocsin_dispatcher.reasons import SuppressionCause
from tocsin_dispatcher.receipts.parse import Callback
from tocsin_dispatcher.receiving.callbacks import Arrived
from tocsin_dispatcher.store.choices import lock_preferences, put_preferences
from tocsin_dispatcher.store.database import in_transaction
from tocsin_dispatcher.store.recipients import Defaults, recipients
from tocsin_dispatcher.store.suppression_list import add_suppression
from tocsin_dispatcher.store.suppressions import AddressKey, Said, heed, suppressed
from tocsin_dispatcher.unsubscribe import UnsubscribeLinks
from tocsin_dispatcher.values import AlertKind, Channel, KindSwitch, ManyKinds

from .bench import ADDRESS_KEY, Bench, ScriptedWay
from .conftest import MakeBench

PHONE, EMAIL = "+13125550123", "user1@example.com"
STANDS = "SELECT reason, source FROM suppressions WHERE lifted_at IS NULL ORDER BY reason"


def text_message(bench: Bench, words: str, sid: str, received_at: datetime | None = None) -> Arrived:
    body = urlencode({"MessageSid": sid, "From": PHONE, "To": "+15017250604", "Body": words}).encode()
    at = received_at or bench.clock.now()
    return Arrived(Callback(str(bench.ids.uuid7()), "twilio-inbound", at, "/", body), None)


def event(bench: Bench, name: str, seconds: int = 0, **more: object) -> Arrived:
    now = int(bench.clock.now().timestamp())
    told = {"event": name, "sg_event_id": f"{name}{seconds}", "timestamp": now + seconds, "email": EMAIL, **more}
    callback = Callback(str(bench.ids.uuid7()), "sendgrid", bench.clock.now(), "/", json.dumps([told]).encode())
    return Arrived(callback, None)


def clicked(bench: Bench, kind: AlertKind | ManyKinds, user_id: int = 1) -> Arrived:
    links = UnsubscribeLinks({"1": b"a key"}, "https://tocsin.example")
    url = f"/u/{links.token(KindSwitch(1, user_id, kind, Channel.EMAIL))}"
    return Arrived(Callback(str(bench.ids.uuid7()), "unsubscribe", bench.clock.now(), url, b""), None)


async def test_stop_lets_none_leave_of_fifty_that_are_due_but_those_already_called_for(benches: MakeBench) -> None:
    """Four slots: the provider is slow, and STOP comes while it has as many as there is room for."""
    way = ScriptedWay(Channel.SMS, block=asyncio.Event())
    bench = await benches(way, slots=4)
    for user in range(1, 51):
        await bench.profile(user_id=user)
    await bench.intake.take_in([bench.firing(user_id=user, critical=True) for user in range(1, 51)])
    working = asyncio.create_task(bench.lane.run(bench.stopping))
    for _ in range(4):
        await asyncio.wait_for(way.begun.acquire(), 20)
    await bench.callbacks.take_in([text_message(bench, "STOP", "SM1")])
    assert way.block is not None
    way.block.set()
    await bench.quiet()
    bench.stopping.set()
    await asyncio.wait_for(working, 20)
    assert len(way.calls) == 4, "what was called for had left"
    assert await bench.states() == {"sent": 4, "suppressed": 46}
    why = "SELECT DISTINCT reason FROM deliveries WHERE status = 'suppressed'"
    assert [row.reason for row in await bench.rows(why)] == ["suppressed_stopped"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
@pytest.mark.parametrize(("last", "stands"), [("STOP", True), ("START", False)])
async def test_the_last_that_was_said_counts_in_whatever_order_it_comes(
    benches: MakeBench, order: tuple[int, ...], last: str, stands: bool
) -> None:
    """One at a time, as another replica or a repetition after an outage may bring them."""
    bench = await benches(ScriptedWay(Channel.SMS))
    await bench.profile()
    words = ["STOP", "START", "STOP", last]
    for place in order:
        said = text_message(bench, words[place], f"SM{place}", bench.clock.now() + timedelta(seconds=place))
        await bench.callbacks.take_in([said])
    assert bool(await bench.rows(STANDS)) is stands


async def test_the_last_that_was_said_counts_within_a_batch_too(benches: MakeBench) -> None:
    """All three wait together after an outage."""
    bench = await benches(ScriptedWay(Channel.SMS))
    await bench.profile()
    later = [bench.clock.now() + timedelta(seconds=second) for second in range(3)]
    start, stop, again = (
        text_message(bench, *one) for one in zip(("START", "STOP", "STOP"), "abc", later, strict=True)
    )
    await bench.callbacks.take_in([again, start, stop])
    assert [row.reason for row in await bench.rows(STANDS)] == ["stopped"]
    since = await bench.rows("SELECT at, said_at FROM suppressions")
    assert [(row.at, row.said_at) for row in since] == [(later[2], later[2])], "of one batch only the last is written"


async def test_stop_and_start_concern_every_bank_that_knows_the_number(benches: MakeBench) -> None:
    """All of them send from the number that was answered; a bank with another number is none of them."""
    bench = await benches(ScriptedWay(Channel.SMS))
    for partner in (1, 2, 3):
        await bench.profile(partner_id=partner)
    await bench.execute("UPDATE contacts SET phone = '+13125559999' WHERE partner_id = 3")
    await bench.callbacks.take_in([text_message(bench, "stopall", "SM1")])
    who = "SELECT partner_id FROM suppressions WHERE lifted_at IS NULL ORDER BY 1"
    assert [row.partner_id for row in await bench.rows(who)] == [1, 2]
    bench.clock.move_to(bench.clock.now() + timedelta(minutes=1))
    await bench.callbacks.take_in([text_message(bench, "unstop", "SM2")])
    assert await bench.rows(who) == []


async def test_a_late_bounce_puts_no_address_back_that_was_taken_off_since(benches: MakeBench) -> None:
    """SendGrid repeats for a day what nobody took; one that happened afterwards counts."""
    bench = await benches()
    await bench.profile()
    ours = {"type": "bounce", "partner_id": "1", "delivery_id": str(bench.ids.uuid7())}
    await bench.callbacks.take_in([event(bench, "bounce", 0, **ours)])
    assert [row.source for row in await bench.rows(STANDS)] == ["sendgrid bounce"]
    await bench.execute("UPDATE suppressions SET lifted_at = :at", at=bench.clock.now() + timedelta(seconds=10))
    await bench.callbacks.take_in([event(bench, "bounce", 5, **ours)])
    assert await bench.rows(STANDS) == []
    await bench.callbacks.take_in([event(bench, "bounce", 20, **ours)])
    assert len(await bench.rows(STANDS)) == 1


async def test_joining_a_group_again_takes_back_leaving_it_but_no_other_unsubscription(benches: MakeBench) -> None:
    """Our own link's stands until somebody at the bank takes it off."""
    bench = await benches()
    await bench.profile()
    await bench.callbacks.take_in([event(bench, "group_unsubscribe", 1)])
    assert [tuple(row) for row in await bench.rows(STANDS)] == [("unsubscribed", "sendgrid group_unsubscribe")]
    await bench.callbacks.take_in([event(bench, "group_resubscribe", 2)])
    assert await bench.rows(STANDS) == []
    bench.clock.move_to(bench.clock.now() + timedelta(seconds=10))
    await bench.callbacks.take_in([clicked(bench, ManyKinds.ALL)])
    await bench.callbacks.take_in([event(bench, "group_resubscribe", 20)])
    assert [tuple(row) for row in await bench.rows(STANDS)] == [("unsubscribed", "unsubscribe one-click")]


BY_CLICK_AND_GROUP = {"sendgrid group_unsubscribe", "unsubscribe one-click"}


@pytest.mark.parametrize("clicks_first", [True, False])
@pytest.mark.parametrize("together", [True, False])
async def test_who_left_a_group_and_clicked_the_link_is_not_brought_back_by_the_group(
    benches: MakeBench, clicks_first: bool, together: bool
) -> None:
    """Both are said for the same cause; each stands for itself, also when they come in one batch."""
    bench = await benches()
    await bench.profile()
    at = bench.clock.now()
    click, left = clicked(bench, ManyKinds.ALL), event(bench, "group_unsubscribe", 1)
    click = replace(
        click, callback=replace(click.callback, received_at=at + timedelta(seconds=0 if clicks_first else 2))
    )
    said = [click, left] if clicks_first else [left, click]
    for batch in [said] if together else [[one] for one in said]:
        assert await bench.callbacks.take_in(batch) == []
    ((reason, source),) = [tuple(row) for row in await bench.rows(STANDS)]
    assert (reason, set(source.split(", "))) == ("unsubscribed", BY_CLICK_AND_GROUP)
    await bench.callbacks.take_in([event(bench, "group_unsubscribe", 3), event(bench, "group_resubscribe", 4)])
    assert [tuple(row) for row in await bench.rows(STANDS)] == [(reason, source)], "said once more it is not told twice"


async def test_a_click_and_the_group_s_return_in_one_batch_leave_the_click(benches: MakeBench) -> None:
    """The return is later, and takes back nothing that the click said."""
    bench = await benches()
    await bench.profile()
    assert await bench.callbacks.take_in([clicked(bench, ManyKinds.ALL), event(bench, "group_resubscribe", 5)]) == []
    assert [tuple(row) for row in await bench.rows(STANDS)] == [("unsubscribed", "unsubscribe one-click")]


async def test_what_a_bank_put_on_its_list_the_group_s_return_does_not_take_off(benches: MakeBench) -> None:
    """The address stood there already when the bank's staff added it."""
    bench = await benches()
    await bench.profile()
    await bench.callbacks.take_in([event(bench, "group_unsubscribe", 1)])
    key = AddressKey(1, Channel.EMAIL, address_hash(ADDRESS_KEY, 1, Channel.EMAIL, EMAIL))
    by_hand, now = SuppressionCause.UNSUBSCRIBED, bench.clock.now()
    await in_transaction(
        bench.engine,
        lambda connection: add_suppression(connection, bench.ids.uuid7(), key, by_hand, "partner", "", now),
    )
    await bench.callbacks.take_in([event(bench, "group_resubscribe", 5)])
    assert [tuple(row) for row in await bench.rows(STANDS)] == [("unsubscribed", "sendgrid group_unsubscribe, partner")]


async def test_a_click_stops_its_kind_and_one_for_all_the_address(benches: MakeBench) -> None:
    """Who has no address any more has every kind switched off, should one come back."""
    bench = await benches()
    await bench.profile()
    await bench.callbacks.take_in([clicked(bench, AlertKind.GOAL)])
    chosen = "SELECT overrides FROM preferences WHERE user_id = :user"
    assert [row.overrides for row in await bench.rows(chosen, user=1)] == [[["goal", "email", False]]]
    assert await bench.rows(STANDS) == []
    await bench.callbacks.take_in([clicked(bench, ManyKinds.ALL)])
    key = AddressKey(1, Channel.EMAIL, address_hash(ADDRESS_KEY, 1, Channel.EMAIL, EMAIL))
    async with bench.engine.connect() as connection:
        found = await suppressed(connection, [key])
    assert found[key].cause is SuppressionCause.UNSUBSCRIBED
    await bench.callbacks.take_in([clicked(bench, ManyKinds.ALL, user_id=2)])
    (row,) = await bench.rows(chosen, user=2)
    assert sorted(kind for kind, _, _ in row.overrides) == sorted(AlertKind)
    assert len(await bench.rows(STANDS)) == 1


async def test_a_digest_s_click_stops_alerts_and_not_the_address(benches: MakeBench) -> None:
    """The user switches them on again without the bank's help, and codes arrive."""
    bench = await benches()
    await bench.profile()
    await bench.callbacks.take_in([clicked(bench, ManyKinds.ALERTS)])
    (row,) = await bench.rows("SELECT overrides FROM preferences WHERE user_id = 1")
    assert sorted(row.overrides) == sorted([kind, "email", False] for kind in AlertKind)
    assert await bench.rows(STANDS) == []


async def test_a_click_while_the_person_saves_their_first_preferences_is_not_lost(benches: MakeBench) -> None:
    """The page had read that there are none; what it writes is whole."""
    bench = await benches()
    await bench.profile()
    user, now = UserKey(1, 1), bench.clock.now()
    async with bench.engine.begin() as saving:
        await lock_preferences(saving, user, now)
        known = (await recipients(saving, [user], Defaults(10, 50)))[user]
        click = asyncio.create_task(bench.callbacks.take_in([clicked(bench, AlertKind.GOAL)]))
        await asyncio.wait([click], timeout=1)  # it waits for the page, or is done
        await put_preferences(saving, user, replace(known.preferences, digest_hour=7), now)
    assert await asyncio.wait_for(click, 20) == []
    (row,) = await bench.rows("SELECT overrides, digest_hour FROM preferences")
    assert (row.overrides, row.digest_hour) == ([["goal", "email", False]], 7)


async def test_two_that_say_opposite_things_at_once_do_not_deadlock(benches: MakeBench) -> None:
    """Several addresses each, in opposite order."""
    bench = await benches()
    keys = [AddressKey(1, Channel.SMS, bytes([number])) for number in range(20)]
    base = [Said(key, SuppressionCause.STOPPED, bench.clock.now(), "test") for key in keys]

    async def say(lifts: bool, backwards: bool) -> None:
        said = [replace(one, lifts=lifts, at=one.at + timedelta(seconds=lifts)) for one in base]
        ordered = said[::-1] if backwards else said
        for _ in range(10):
            await in_transaction(bench.engine, lambda connection: heed(connection, ordered))

    await asyncio.wait_for(asyncio.gather(*(say(*how) for how in itertools.product((False, True), repeat=2))), 30)
    assert await bench.rows(STANDS) == [], "the later one says that they are lifted"
    assert len(await bench.rows("SELECT 1 FROM suppressions")) == 20


async def test_a_stop_that_was_never_heard_is_kept_as_taken_back_and_not_shown(benches: MakeBench) -> None:
    """START before STOP: nothing stood, and nothing is told of it."""
    bench = await benches(ScriptedWay(Channel.SMS))
    await bench.profile()
    await bench.callbacks.take_in([text_message(bench, "START", "SM1")])
    (row,) = await bench.rows("SELECT said_at, lifted_by FROM suppressions")
    assert (row.said_at, row.lifted_by) == (None, "twilio START")
