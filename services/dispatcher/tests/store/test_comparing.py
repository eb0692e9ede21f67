"""Which firings are missing, found out by counts and checksums alone."""

from datetime import timedelta
from random import Random

import pytest

from tocsin_dispatcher.auditing.comparing import Comparison
from tocsin_dispatcher.store.ledger import NAMED
from tocsin_dispatcher.values import Firing

from .bench import Bench
from .conftest import MakeBench
from .evaluators_books import EvaluatorsBooks

MINUTE = timedelta(minutes=1)


async def _fired(bench: Bench, count: int, over: timedelta, random: Random) -> list[Firing]:
    """So many firings of some minutes, by the time of firing."""
    await bench.profile()
    began = bench.clock.now().replace(second=0, microsecond=0)
    places = sorted(random.sample(range(over // timedelta(microseconds=1)), count))
    return [bench.firing(fired_at=began + timedelta(microseconds=place)) for place in places]


async def _named(bench: Bench, evaluator: EvaluatorsBooks, partner_id: int = 0) -> list[object]:
    """What is found of all minutes in which something fired."""
    minutes = sorted({firing.fired_at.replace(second=0, microsecond=0) for firing in evaluator.firings})
    comparison = Comparison(bench.engine, evaluator, partner_id)
    return list(await comparison.missing_firings([(minute, minute + MINUTE) for minute in minutes]))


@pytest.mark.parametrize("lost", [0, 1, 2, 7, NAMED, NAMED + 5])
async def test_the_missing_firings_are_named_in_their_order_and_twenty_at_most(benches: MakeBench, lost: int) -> None:
    bench, random = await benches(), Random(lost)
    firings = await _fired(bench, 60, 3 * MINUTE, random)
    missing = sorted(random.sample(range(len(firings)), lost))
    await bench.intake.take_in([firing for place, firing in enumerate(firings) if place not in missing])
    evaluator = EvaluatorsBooks(bench, firings)
    assert await _named(bench, evaluator) == [firings[place].id for place in missing][:NAMED]
    assert len(evaluator.asked) <= 3 + 26 * NAMED, "no more than halving each down to its instant"


async def test_those_of_one_instant_stay_unnamed_and_the_others_are_named(benches: MakeBench) -> None:
    bench = await benches()
    firings = await _fired(bench, 5, 2 * MINUTE, Random(1))
    together = [bench.firing(fired_at=firings[2].fired_at) for _ in range(3)]
    await bench.intake.take_in(firings[1:3])
    evaluator = EvaluatorsBooks(bench, [*firings, *together])
    assert await _named(bench, evaluator) == [firing.id for firing in (firings[0], *firings[3:])]


async def test_one_of_an_instant_of_many_is_named(benches: MakeBench) -> None:
    """As a sweep stamps them: all alike."""
    bench = await benches()
    firings = [bench.firing() for _ in range(9)]
    await bench.profile()
    await bench.intake.take_in(firings[1:])
    assert await _named(bench, EvaluatorsBooks(bench, firings)) == [firings[0].id]


async def test_a_notification_of_nothing_is_no_missing_firing(benches: MakeBench) -> None:
    bench = await benches()
    firings = await _fired(bench, 6, MINUTE, Random(2))
    await bench.intake.take_in(firings[1:])
    evaluator = EvaluatorsBooks(bench, [*firings[:3], *firings[4:]])
    assert await _named(bench, evaluator) == [firings[0].id], "as many on both sides, and not the same"


async def test_what_is_missing_of_another_partner_is_not_asked_for(benches: MakeBench) -> None:
    bench = await benches()
    mine, anothers = bench.firing(), bench.firing(partner_id=2)
    evaluator = EvaluatorsBooks(bench, [mine, anothers])
    assert await _named(bench, evaluator, partner_id=1) == [mine.id]
    assert await _named(bench, evaluator, partner_id=2) == [anothers.id]


async def test_the_questions_end_however_much_of_one_instant_is_missing(benches: MakeBench) -> None:
    """A stream that loses all of a sweep is the worst: nothing of it can be named."""
    bench, firings = await benches(), list[Firing]()
    for _ in range(30):
        bench.clock.advance(MINUTE)
        firings += [bench.firing(), bench.firing()]
    evaluator = EvaluatorsBooks(bench, firings)
    assert await _named(bench, evaluator) == []
    assert len(evaluator.asked) == 27 * NAMED
