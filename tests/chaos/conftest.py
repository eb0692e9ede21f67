"""The suite as processes, and the day they live through."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tocsin_devstack.fixtures import MakeDatabase
from tocsin_kit.messaging.streams import apply_to

pytest.register_assert_rewrite("tests.chaos.books")

from tests.chaos.living import BusyDay  # noqa: E402 - after its assertions are made to tell
from tests.chaos.suite import SERVICES, Suite, running_suite  # noqa: E402


@pytest.fixture
async def suite(make_database: MakeDatabase, broker_url: str, tmp_path: Path) -> AsyncIterator[Suite]:
    """Everything running, over fresh databases and an empty broker."""
    urls = {service: await make_database(service) for service in SERVICES}
    await apply_to(broker_url)
    async with running_suite(tmp_path, urls, broker_url) as started:
        yield started


@pytest.fixture
def busy_day(suite: Suite) -> BusyDay:
    """It has not begun."""
    return BusyDay(suite)
