"""What a night holds, and what is wanted once a day, comes as one message a channel; each alert can say what became of
it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from tests.acceptance.conftest import OpenTimetable
from tests.acceptance.test_push import subscribe
from tests.acceptance.timetable import ACCOUNT, PARTNER, USER, Timetable

BERLIN = "Europe/Berlin"
EVERYWHERE = {"sms_delivery": True, "push_delivery": True}
COFFEES, ENDED, STANDING = 120, 30, 50
"""Purchases of the night, thresholds that the salary lifts the balance above, and those that it does not."""
NIGHT = {"quiet_hours": {"enabled": True, "start": "22:00", "end": "08:00"}}


async def burst(day: Timetable) -> None:
    """200 alerts at once: the balance falls below 80 thresholds, and 120 coffees are posted."""
    purchases = [day.purchase("4.50", f"Coffee {number}").item for number in range(COFFEES)]
    at = day.stack.clock.now().isoformat().replace("+00:00", "Z")
    body = {"transactions": [{**one, "posted_at": at} for one in purchases]}
    answer = await day.must("POST", "/api/v2/ingest/transactions", body, day.stack.service_token(PARTNER))
    assert not answer.get("rejected"), answer
    await day.post(day.account("50.00"))


async def timelines(day: Timetable) -> list[list[dict[str, Any]]]:
    """The entries of each of the user's notifications, the earliest firing's first."""
    rows = await day.databases.of["dispatcher"].fetch(
        "SELECT id FROM notifications WHERE partner_id = $1 AND user_id = $2 ORDER BY fired_at, id", PARTNER, USER
    )
    return [(await day.must("GET", f"/api/v2/notifications/{row['id']}/timeline"))["entries"] for row in rows]


def fate(entries: list[dict[str, Any]], channel: str) -> str:
    """What became of an alert on a channel, as its timeline tells it: the last thing said of its own message, and of
    the one it was put into."""
    told = [one["text"] for one in entries if one.get("channel") == channel]
    held = [text for text in told if "your quiet hours were on" in text]
    assert len(held) == 1, told
    if any("no longer true" in text for text in told):
        return "left out"
    assert any("was put together with other alerts into one" in text for text in told), told
    assert any(text.startswith("Several alerts were put together into one") for text in told), told
    return "told"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("evening", "morning"),
    [
        pytest.param("2025-03-29", "2025-03-30", id="the night that is an hour short"),
        pytest.param("2025-10-25", "2025-10-26", id="the night that is an hour long"),
    ],
)
async def test_two_hundred_alerts_of_a_night_are_one_message_a_channel_in_the_morning(
    timetable: OpenTimetable, evening: str, morning: str
) -> None:
    async with timetable(f"{evening} 20:00", BERLIN) as day:
        await day.must("PATCH", "/api/v2/preferences", NIGHT)
        await subscribe(day, "laptop")
        await day.post(day.account("9000.00"))
        coffee = {"merchant_pattern": "coffee", "match_type": "contains"}
        await day.must("POST", "/api/v2/alerts", {"merchant_name": coffee, **EVERYWHERE})
        large = {"amount": "400.00", "currency": "USD"}
        await day.must("POST", "/api/v2/alerts", {"transaction_limit": large, "critical": True, **EVERYWHERE})
        for number in range(ENDED + STANDING):
            threshold = 1000 + number if number < ENDED else 5000 + number
            below = {
                "account_id": str(ACCOUNT),
                "threshold": f"{threshold}.00",
                "currency": "USD",
                "direction": "below",
            }
            body = {"account_threshold": below, "cooldown": "86400s", **EVERYWHERE}
            await day.must("POST", "/api/v2/alerts", body)

        await day.at("23:00")
        await burst(day)
        await day.want(
            *(f"inbox: Coffee {number}" for number in range(COFFEES)),
            *["inbox: Low balance: Checking"] * (ENDED + STANDING),
        )
        await day.at("23:10", day.purchase("900.00", "Bike Shop"))
        await day.want(
            "inbox: Large transaction",
            "email: Large transaction",
            "sms: Large transaction: $900.00 (limit: $400.00)",
            "push to laptop: Large transaction",
        )

        await day.at(f"{morning} 07:00", day.account("3000.00"))
        await day.at(f"{morning} 07:59")
        await day.at(f"{morning} 08:00")
        await day.want(
            "email: 170 alerts", "sms: 170 alerts: 50 low balance, 120 transactions", "push to laptop: 170 alerts"
        )
        [mail] = [one for one in day.stack.sendgrid.account.accepted if one.subject == "170 alerts"]
        assert "50 low balance, 120 transactions" in mail.text
        assert mail.text.count("Coffee ") == 10, "it shows ten of a group, and counts the rest"
        stories = await timelines(day)
        for channel in ("email", "sms", "push"):
            fates = Counter(fate(one, channel) for one in stories if not _is_large(one))
            assert fates == {"told": COFFEES + STANDING, "left out": ENDED}
        await day.at(f"{morning} 10:00")


def _is_large(entries: list[dict[str, Any]]) -> bool:
    return any("Large transaction" in one["text"] for one in entries)


async def test_a_daily_digest_comes_at_its_hour_as_one_also_when_it_is_one_alert(timetable: OpenTimetable) -> None:
    coffee: Mapping[str, str] = {
        "merchant_pattern": "coffee",
        "match_type": "contains",
        "frequency": "daily_digest",
    }
    async with timetable("2025-11-03 09:00", BERLIN) as day:
        await day.must("PATCH", "/api/v2/preferences", {"digest_hour": 17})
        await day.alert(merchant_name=coffee, sms_delivery=True)
        await day.at("09:05", day.purchase("4.50", "Coffee House"))
        await day.want("inbox: Coffee House")
        await day.at("12:30", day.purchase("3.20", "Coffee Corner"))
        await day.want("inbox: Coffee Corner")
        await day.at("16:59")
        await day.at("17:00")
        await day.want("email: 2 alerts", "sms: 2 alerts: 2 transactions")
        [mail] = day.stack.sendgrid.account.accepted
        assert "Coffee House for $4.50" in mail.text
        assert "Coffee Corner for $3.20" in mail.text
        await day.at("17:30", day.purchase("2.10", "Coffee Bar"))
        await day.want("inbox: Coffee Bar")
        await day.at("2025-11-04 16:59")
        await day.at("2025-11-04 17:00")
        await day.want("email: 1 alert", "sms: 1 alert: 1 transaction")
