"""Messages that break their calls in our own hands: the others leave, and no provider is blamed."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tocsin_dispatcher.breakers import FAILURES_IN_A_ROW, BreakerKey
from tocsin_dispatcher.delivering.way import Sent
from tocsin_dispatcher.values import Attempt, Channel, Notification, Recipient

from .bench import ScriptedWay
from .conftest import MakeBench


@dataclass
class BreakingWay(ScriptedWay):
    """The calls for some deliveries break in our own hands."""

    broken: Collection[UUID] = ()

    async def send(
        self, key: BreakerKey, attempt: Attempt, notification: Notification, recipient: Recipient, now: datetime
    ) -> Sent:
        if notification.id in self.broken:
            raise UnicodeError("label empty or too long")
        return await super().send(key, attempt, notification, recipient, now)


async def test_a_message_that_breaks_its_call_is_tried_again_and_ends_nothing_else(benches: MakeBench) -> None:
    way = BreakingWay(Channel.EMAIL)
    bench = await benches(way)
    await bench.profile()
    firings = [bench.firing() for _ in range(3)]
    way.broken = [firings[1].id]
    await bench.intake.take_in(firings)
    async with bench.working():
        assert await bench.states() == {"sent": 2, "retrying": 1}
        way.broken = ()
        await bench.step()
    assert await bench.states() == {"sent": 3}
    marked = await bench.rows("SELECT possible_duplicate FROM attempts WHERE number = 2")
    assert [row.possible_duplicate for row in marked] == [True], "nobody knows whether it left"


async def test_messages_that_break_their_calls_have_no_provider_left_alone(benches: MakeBench) -> None:
    way = BreakingWay(Channel.EMAIL)
    bench = await benches(way)
    await bench.profile()
    firings = [bench.firing() for _ in range(FAILURES_IN_A_ROW)]
    way.broken = [firing.id for firing in firings]
    await bench.intake.take_in(firings)
    async with bench.working():
        await bench.intake.take_in([bench.firing()])
        await bench.quiet()
        assert await bench.states() == {"retrying": FAILURES_IN_A_ROW, "sent": 1}
    assert await bench.rows("SELECT provider FROM breakers") == []
