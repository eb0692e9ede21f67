"""kill -9 of each service in the middle of the demo's busiest day, with work in its hands; then it is started again.

Nothing is lost: every firing has its notification, every planned delivery has ended or is held for a reason, every job
is done. Nothing is sent twice but where the dispatcher died during a call that the provider had taken and said nothing
more of: then the repeat is marked, and as many are marked as the providers took.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import pytest

from tests.chaos.books import (
    InDoubt,
    check_nothing_is_lost,
    in_doubt,
    jobs_under_way,
    marked,
    quiet,
    repeats,
)
from tests.chaos.living import SCHEDULES, BusyDay
from tests.chaos.suite import Suite
from tests.chaos.waiting import AT_ONCE, Check, until
from tocsin_devstack.faults import CallBehaviour, CallFault, Provider
from tocsin_kit.clock import SystemClock

pytestmark = pytest.mark.timeout(400)


async def test_the_scheduler_dies_with_jobs_under_way_and_every_job_is_done(suite: Suite, busy_day: BusyDay) -> None:
    async def several_under_way() -> object:
        return sum((await jobs_under_way(suite)).values()) >= 3 or await jobs_under_way(suite)

    await busy_day.dawn()
    in_hand = await busy_day.live("scheduler", partial(jobs_under_way, suite), then=several_under_way)

    assert in_hand, "no job was queued or running when the scheduler was killed"
    await until("quiet", partial(quiet, suite))
    await check_nothing_is_lost(suite, busy_day.jobs)
    made = await suite.databases.of["scheduler"].fetch("SELECT attempt, schedule FROM jobs")
    asked_once = len(busy_day.jobs) - len(SCHEDULES)
    assert sum(row["schedule"] is None for row in made) == asked_once, "a job that was asked for once was made twice"
    await _nothing_is_repeated(suite)
    print(f"in hand: {in_hand}; done at another attempt: {sum(row['attempt'] > 1 for row in made)}")


async def test_the_evaluator_dies_while_facts_are_posted_and_all_of_them_fire(suite: Suite, busy_day: BusyDay) -> None:
    async def in_hand() -> tuple[int, dict[str, int]]:
        return suite.callers.posts_waiting, await jobs_under_way(suite)

    async def posts_and_jobs() -> object:
        posts, jobs = await in_hand()
        return (posts >= 5 and sum(jobs.values()) >= 3) or (posts, jobs)

    await busy_day.dawn()
    posts, jobs = await busy_day.live("evaluator", in_hand, then=posts_and_jobs)

    assert posts, "no post was unanswered when the evaluator was killed"
    assert jobs, "no job was under way when the evaluator was killed"
    assert suite.callers.in_vain, "the callers never noticed"
    await until("quiet", partial(quiet, suite))
    await check_nothing_is_lost(suite, busy_day.jobs)
    await _nothing_is_repeated(suite)
    print(f"in hand: {posts} posts, jobs {jobs}; calls in vain: {suite.callers.in_vain}")


async def test_the_gateway_dies_with_callbacks_and_posts_on_their_way_and_none_is_lost(
    suite: Suite, busy_day: BusyDay
) -> None:
    async def on_their_way() -> tuple[int, int, int]:
        posts = suite.callers.posts_waiting
        stored = await suite.databases.of["gateway"].fetchval("SELECT count(*) FROM callbacks")
        return posts, await suite.providers.events_outstanding(), stored

    async def callbacks_come() -> object:
        _, events, stored = await on_their_way()
        return (events >= 10 and stored > before) or (events, stored)

    await busy_day.dawn()
    _, _, before = await on_their_way()
    posts, events, stored = await busy_day.live(
        "gateway", on_their_way, at_noon=callbacks_come, then=_several_posts(suite)
    )

    assert posts, "no post was on its way when the gateway was killed"
    assert events, "no event of a provider was on its way when the gateway was killed"
    assert suite.callers.in_vain, "the callers never noticed"
    await until("quiet", partial(quiet, suite))
    await check_nothing_is_lost(suite, busy_day.jobs)
    events_in_vain = sum([(await suite.providers.account(provider)).events_in_vain for provider in Provider])
    assert events_in_vain, "the providers never noticed"
    await _nothing_is_repeated(suite)
    print(f"in hand: {posts} posts, {events} events, {stored - before} callbacks stored since dawn;")
    print(f"in vain: {suite.callers.in_vain} calls, {events_in_vain} events")


def _several_posts(suite: Suite) -> Check:
    async def wait() -> object:
        return suite.callers.posts_waiting >= 5 or suite.callers.posts_waiting

    return wait


async def _nothing_is_repeated(suite: Suite) -> None:
    assert (await repeats(suite), await marked(suite)) == (set(), set())


#: Of what these households get the providers say nothing after taking it: neither that it left nor that it arrived.
MUTE = (1, 2, 3, 4)
#: These get messages the answers to which are lost; of the texts to TAKEN_FIRST's Robin the provider has only the first
#: one, of those to LOST_FIRST's all but the first.
CUT_OFF = TAKEN_FIRST, LOST_FIRST, _ = (3, 4, 5)


async def test_the_dispatcher_dies_during_calls_and_repeats_only_what_nobody_can_know(
    suite: Suite, busy_day: BusyDay
) -> None:
    mute = {address for number in MUTE for address in addresses(busy_day, number)}
    await suite.providers.fall_silent(mute)
    await busy_day.dawn()
    await suite.providers.order(_lost_answers(busy_day))
    cut_off = {address for number in CUT_OFF for address in addresses(busy_day, number)}
    email, phone = addresses(busy_day, TAKEN_FIRST)[:2]
    other_phone = addresses(busy_day, LOST_FIRST)[1]

    async def answers_are_lost() -> object:
        calls = await in_doubt(suite)
        called = Counter(call.destination for call in calls)
        if called[email] < 1 or called[phone] < 2 or called[other_phone] < 2:
            return dict(called)
        taken = {call.delivery for call in await suite.providers.taken()}
        of_them = {call.destination for call in calls if call.delivery in taken}
        return {email, phone, other_phone} <= of_them or of_them

    async def others_are_called() -> object:
        return sum(call.destination not in cut_off for call in await in_doubt(suite)) >= 5 or "too few"

    async def look() -> tuple[list[InDoubt], set[str]]:
        await suite.providers.forget_call_faults()
        return await in_doubt(suite), {call.delivery for call in await suite.providers.taken()}

    calls, taken = await busy_day.live("dispatcher", look, at_noon=answers_are_lost, then=others_are_called)

    channels = Counter(call.channel for call in calls)
    assert channels.keys() == {"email", "sms"}, "no call was under way when the dispatcher was killed"
    texts = [call.delivery for call in calls if call.channel == "sms"]
    await until("the fate of the texts", partial(_are_settled, suite, texts), every=AT_ONCE)
    await until("quiet", partial(quiet, suite))
    await check_nothing_is_lost(suite, busy_day.jobs)
    repeated, marks = await repeats(suite), await marked(suite)
    emails = {call.delivery for call in calls if call.channel == "email" and call.delivery in taken}
    unheard_of = {call.delivery for call in calls if call.delivery in emails and call.destination in mute}
    assert unheard_of <= {delivery for delivery, _ in repeated} <= emails, "only e-mails are repeated without asking"
    assert repeated == {(delivery, number) for delivery, number in marks if delivery in taken}
    assert {delivery for delivery, _ in marks} <= {call.delivery for call in calls}
    print(f"in hand: {dict(channels)}, of which {len(taken & {call.delivery for call in calls})} were taken")
    print(f"attempts marked: {len(marks)}; repeats: {len(repeated)}, all of them e-mails")


def addresses(busy_day: BusyDay, number: int) -> list[str]:
    """Robin's e-mail and phone, then Sam's, of a household."""
    people = busy_day.days[number - 1].people
    return [address for person in people for address in (person.email, person.phone)]


def _lost_answers(busy_day: BusyDay) -> list[CallFault]:
    """Of each message whose answer is lost the provider has it (after) or has it not (before)."""
    phone, other_phone = addresses(busy_day, TAKEN_FIRST)[1], addresses(busy_day, LOST_FIRST)[1]
    everybody = [address for number in CUT_OFF for address in addresses(busy_day, number)]
    return [
        CallFault(Provider.TWILIO, CallBehaviour.HANG_BEFORE, recipient=phone, from_call=2),
        CallFault(Provider.TWILIO, CallBehaviour.HANG_BEFORE, recipient=other_phone, times=1),
        *(
            CallFault(provider, CallBehaviour.HANG_AFTER, recipient=address)
            for provider in Provider
            for address in everybody
        ),
    ]


async def _are_settled(suite: Suite, texts: Sequence[str]) -> object:
    """Whether the fate of these texts is known. One of unknown fate waits two minutes for its callback before the
    provider is asked: for it they pass at once."""
    dispatcher, soon = suite.databases.of["dispatcher"], SystemClock().now() + timedelta(minutes=1)
    await dispatcher.execute(
        "UPDATE deliveries SET due_at = due_at - interval '2 minutes'"
        " WHERE channel = 'sms' AND status = 'unknown' AND due_at > $1",
        soon,
    )
    left = await dispatcher.fetchval(
        "SELECT count(*) FROM deliveries WHERE id = ANY($1::uuid[]) AND status IN ('sending', 'unknown')", texts
    )
    return left == 0 or f"{left} texts in doubt"
