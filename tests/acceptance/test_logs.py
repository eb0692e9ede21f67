"""What the services log while people's money passes.

That nothing private is in it is asked after every acceptance test, by the fixture `log_lines`; here it has
something to look at.
"""

import io
import json
import logging

import pytest

from tests.acceptance.conftest import OpenTimetable, private_lines
from tests.acceptance.timetable import EMAIL, PHONE
from tocsin_devstack.faults import CallbackBehaviour, CallbackFault, Provider


async def test_forged_callbacks_are_logged_without_whom_they_name(
    timetable: OpenTimetable, log_lines: io.StringIO
) -> None:
    async with timetable("2025-11-03 09:00") as day:
        await day.alert(transaction_limit={"amount": "100.00", "currency": "USD"}, sms_delivery=True)
        for provider in Provider:
            day.stack.faults.order(CallbackFault(provider, CallbackBehaviour.FORGE, times=1))
        await day.at("09:05", day.purchase("250.00"))
        await day.want(
            "email: Large transaction",
            "sms: Large transaction: $250.00 (limit: $100.00)",
            "inbox: Large transaction",
        )
    lines = [json.loads(line) for line in log_lines.getvalue().splitlines()]
    forged = {line["provider"] for line in lines if line["event"] == "callback_forged"}
    assert forged == {"sendgrid", "twilio-status"}


@pytest.mark.parametrize(
    "secret", [EMAIL, PHONE, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl", "$12", "250.00", "SG.abcdefgh.ijkl"]
)
def test_the_search_of_the_log_finds_what_is_private(secret: str) -> None:
    assert private_lines(f'{{"event": "it was {secret}, was it"}}') != []


@pytest.mark.parametrize(
    "secret", [EMAIL, PHONE, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl", "$12", "250.00"]
)
def test_what_anybody_logs_is_masked_on_its_way(secret: str, log_lines: io.StringIO) -> None:
    logging.getLogger("anybody").warning("it was %s, was it", secret)
    assert secret not in log_lines.getvalue()
    assert "was it" in log_lines.getvalue()
