"""SendGrid is out for an hour, around midnight: nothing is lost by it, nobody is woken by it, and it is not stormed."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from tests.acceptance.conftest import OpenTimetable
from tests.acceptance.timetable import Timetable
from tocsin_devstack.faults import CallBehaviour, CallFault, Provider

MINUTE = timedelta(minutes=1)
#: The outage's hour, local time, and when the last night's sleep of it begins and ends.
BEGINS, ENDS = "2025-11-03 23:15", "2025-11-04 00:15"
NIGHT = {"enabled": True, "start": "23:30", "end": "08:00"}
MORNING = "2025-11-04 08:00"
#: Who gets messages that can wait: awake ones, sleepers (their night begins in the outage), and sleepers whom a
#: critical one may wake. Last, those to whom nothing is of use when the outage is over: one with a bill that was due on
#: the evening before, and one who asked for a code to prove an address by.
AWAKE, SLEEPERS, WOKEN, DEBTOR, NEWCOMER = range(101, 113), range(201, 204), range(301, 303), 401, 402
EVERYBODY = (*AWAKE, *SLEEPERS, *WOKEN, DEBTOR, NEWCOMER)
LARGE = {"amount": "100.00", "currency": "USD"}
#: An e-mail that failed ever so often is tried every five minutes, and a quarter more (delivery.md, "Retries").
LONGEST_PAUSE = timedelta(minutes=6, seconds=15)
#: So many failures in a row open a breaker (delivery.md, "Circuit breaker").
FAILURES_IN_A_ROW = 5
OUT = [
    CallFault(Provider.SENDGRID, CallBehaviour.STATUS, status=503),
    CallFault(Provider.SENDGRID, CallBehaviour.RESET_BEFORE),
]


def address(user: int) -> str:
    """Where a user's e-mail goes."""
    return f"user-{user}@example.com"


async def introduce(day: Timetable) -> None:
    """Everybody, with an account, their quiet hours and an alert."""
    for user in EVERYBODY:
        token = day.stack.user_token(user)
        vouched = user != NEWCOMER
        profile = {"user_id": str(user), "email": address(user), "phone": f"+13125550{user}", "email_verified": vouched}
        await day.post(day.profile(**profile))
        await day.post(day.account("2000.00", id=str(user), user_id=str(user)))
        if user in (*SLEEPERS, *WOKEN):
            await day.must("PATCH", "/api/v2/preferences", {"quiet_hours": NIGHT}, token)
        if user not in (DEBTOR, NEWCOMER):
            alert = {"transaction_limit": LARGE, "critical": user in WOKEN}
            await day.must("POST", "/api/v2/alerts", alert, token)
    await day.post(day.bill("2025-11-03", id="4001", user_id=str(DEBTOR)))


async def spend(day: Timetable, users: Sequence[int]) -> None:
    """A large purchase of each, one by one."""
    for user in users:
        await day.post(day.purchase("250.00", user_id=str(user), account_id=str(user)))


async def outage(day: Timetable, fault: CallFault) -> None:
    """From before it begins to its end: purchases before the night and in it, a bill that is due that day, a code."""
    await introduce(day)
    await day.stack.move_to(day.instant(BEGINS))
    day.stack.faults.order(fault)
    await day.stack.move_to(day.instant("2025-11-03 23:20"))
    await spend(day, [*AWAKE, *SLEEPERS])
    bill = {"upcoming_bill": {"bill_id": "4001", "days_before": 1}}
    await day.must("POST", "/api/v2/alerts", bill, day.stack.user_token(DEBTOR))
    await day.stack.move_to(day.instant("2025-11-03 23:50"))
    await spend(day, [*AWAKE, *SLEEPERS, *WOKEN])
    await day.must("POST", "/api/v2/preferences/email:verify", {}, day.stack.user_token(NEWCOMER))
    await day.stack.move_to(day.instant(ENDS))
    day.stack.faults.forget_calls()


def calls(day: Timetable) -> list[datetime]:
    """When SendGrid was called, for whomever."""
    return [call.at for call in day.stack.sendgrid.account.calls]


def arrived(day: Timetable) -> Counter[int]:
    """How many e-mails SendGrid has taken for each user."""
    return Counter(int(mail.recipient[5:8]) for mail in day.stack.sendgrid.account.accepted)


def by_minute(instants: Sequence[datetime], since: datetime) -> Counter[int]:
    """How many of them lie in each minute after an instant."""
    return Counter((at - since) // MINUTE for at in instants if at >= since)


async def fates(day: Timetable) -> dict[tuple[int, str], list[str]]:
    """The states of the e-mails of each user, with the reason where there is one."""
    rows = await day.databases.of["dispatcher"].fetch(
        "SELECT user_id, status, reason FROM deliveries WHERE channel = 'email' ORDER BY created_at"
    )
    found: dict[tuple[int, str], list[str]] = {}
    for row in rows:
        found.setdefault((row["user_id"], row["status"]), []).append(row["reason"] or "")
    return found


async def marked(day: Timetable) -> int:
    """How many attempts may be repeats, as the books say."""
    query = "SELECT count(*) FROM attempts WHERE possible_duplicate"
    return int(await day.databases.of["dispatcher"].fetchval(query))


def check_single_probes(day: Timetable, replicas: int) -> None:
    """Of the calls of the outage: so many failures open the breaker, then each replica probes once a minute at most."""
    begun, ended = calls(day)[0], day.instant(ENDS)
    minutes = by_minute(calls(day), begun)
    at_first = minutes.pop(0)
    assert FAILURES_IN_A_ROW <= at_first <= replicas * FAILURES_IN_A_ROW, "then it is left alone"
    assert minutes, "it is tried"
    assert max(minutes.values()) <= replicas, "more than single probes"
    assert minutes.total() <= replicas * ((ended - begun) // MINUTE)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", OUT, ids=lambda fault: fault.behaviour)
async def test_after_an_hour_s_outage_all_that_is_of_use_arrives_once_and_nobody_is_woken(
    timetable: OpenTimetable, fault: CallFault
) -> None:
    async with timetable("2025-11-03 22:30") as day:
        await outage(day, fault)
        assert not arrived(day)
        check_single_probes(day, replicas=1)
        before = len(calls(day))

        await day.stack.move_to(day.instant("2025-11-04 00:18"))
        assert arrived(day) == Counter({**dict.fromkeys(AWAKE, 2), **dict.fromkeys(WOKEN, 1)}), "two minutes suffice"
        assert len(calls(day)) - before == 2 * len(AWAKE) + len(WOKEN), "each was asked for once"

        await day.stack.move_to(day.instant("2025-11-04 07:59"))
        assert not arrived(day).keys() & set(SLEEPERS), "woken"
        await day.stack.move_to(day.instant("2025-11-04 08:01"))
        assert {user: arrived(day)[user] for user in SLEEPERS} == dict.fromkeys(SLEEPERS, 2)
        assert max(arrived(day).values()) == 2, "nobody got anything twice"

        told = await fates(day)
        assert told.pop((NEWCOMER, "expired"), told) == ["expired"], "a code is valid for ten minutes"
        assert told.pop((DEBTOR, "suppressed"), told) == ["no_longer_true"], "a bill is of no use past its due day"
        assert {status for _, status in told} == {"delivered"}
        assert (await marked(day) > 0) is (fault.behaviour is CallBehaviour.RESET_BEFORE)
        day.forgive()


@pytest.mark.timeout(300)
async def test_two_replicas_leave_sendgrid_alone_together(timetable: OpenTimetable) -> None:
    async with timetable("2025-11-03 22:30", replicas={"dispatcher": 2}) as day:
        await outage(day, OUT[0])
        check_single_probes(day, replicas=2)
        await day.stack.move_to(day.instant("2025-11-04 00:18"))
        assert sum(arrived(day).values()) == 2 * len(AWAKE) + len(WOKEN)
        day.forgive()


@pytest.mark.timeout(300)
async def test_a_message_alone_is_tried_through_the_whole_outage_and_arrives(timetable: OpenTimetable) -> None:
    async with timetable(BEGINS) as day:
        await day.alert(transaction_limit=LARGE)
        day.stack.faults.order(OUT[0])
        await day.at(BEGINS, day.purchase("250.00"))
        await day.want("inbox: Large transaction")
        await day.at(ENDS)
        assert len(calls(day)) >= FAILURES_IN_A_ROW + (day.instant(ENDS) - calls(day)[4]) // LONGEST_PAUSE
        day.stack.faults.forget_calls()
        await day.at("2025-11-04 00:22")
        await day.want("email: Large transaction")


#: Calls a minute.
PACE = 6


@pytest.mark.timeout(300)
async def test_after_the_outage_what_waited_leaves_at_the_pace_that_is_set(timetable: OpenTimetable) -> None:
    paced = {"dispatcher": {"TOCSIN_PROVIDER_PACES": {"sendgrid": PACE}}}
    async with timetable("2025-11-03 22:30", settings=paced) as day:
        await outage(day, OUT[0])
        waiting = 2 * len(AWAKE) + len(WOKEN)
        enough = timedelta(minutes=2) + waiting * MINUTE / PACE
        await day.stack.move_to(day.instant(ENDS) + enough)
        assert sum(arrived(day).values()) == waiting
        after = [at for at in calls(day) if at >= day.instant(ENDS)]
        most = max(sum(at <= other < at + MINUTE for other in after) for at in after)
        assert most <= PACE + 1, "calls of one second may leave together"
        day.forgive()
