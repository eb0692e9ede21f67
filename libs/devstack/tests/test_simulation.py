"""Two days of the household on the real stack, from the command's own start to its last line."""

import json
from datetime import date

import pytest

from tocsin_devstack.household import household
from tocsin_devstack.rehearsal import rehearse
from tocsin_devstack.scenario import Kind
from tocsin_kit.clock import SystemClock


@pytest.mark.timeout(300)
def test_two_days_are_lived_through_with_nothing_lost_and_nothing_doubled(capsys: pytest.CaptureFixture[str]) -> None:
    clock = SystemClock()
    scenario = household(7, date(2026, 1, 3), 2)
    complaint = rehearse(scenario, 7, clock, clock.now())
    *account, last = capsys.readouterr().out.splitlines()
    books = json.loads(last)
    assert (books["lost"], books["duplicated"], books["days"]) == (0, 0, 2)
    assert books["notifications"] == sum(books["firings"].values()) > 0
    assert books["deliveries"]["in_app"] == {"sent": books["notifications"]}, "in-app always, at once"
    assert books["facts"] > len(scenario.history)
    whys = [line for line in account if line.strip().startswith("why:")]
    assert len(whys) == books["notifications"], "every firing says why"
    assert all("transaction " in why for why in whys), "and names the lines that made it true"
    silent = [kind.value for kind in Kind if not books["firings"][kind.value]]
    assert complaint == ("" if not silent else f"failed: 0 lost, 0 duplicated, nothing from {', '.join(silent)}")
