"""The evaluator's side of the books, kept by hand."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from tocsin_dispatcher.store.contact_sums import ProfileSum, contact_sums
from tocsin_dispatcher.values import Firing
from tocsin_dispatcher.values.minutes import Minute

from .bench import Bench


def _signed(bits: int) -> int:
    return bits - (1 << 64) if bits >> 63 else bits


class EvaluatorsBooks:
    """What is republished is taken in again, unless nothing `heals`."""

    def __init__(self, bench: Bench, firings: list[Firing]) -> None:
        self.bench, self.firings, self.republished = bench, firings, 0
        self.heals = True
        self.asked: list[tuple[datetime, datetime]] = []
        self.lost_profiles: list[ProfileSum] = []
        self.asked_profiles: list[tuple[int, list[int], int | None]] = []

    async def summarise(self, partner_id: int, since: datetime, until: datetime) -> list[Minute]:
        assert timedelta() < until - since <= timedelta(days=1), "as the evaluator demands"
        self.asked.append((since, until))
        minutes: dict[datetime, list[int]] = {}
        for firing in self.firings:
            if since <= firing.fired_at < until and partner_id in (0, firing.partner_id):
                minutes.setdefault(firing.fired_at.replace(second=0, microsecond=0), []).append(firing.id.int)
        books = []
        for minute, ids in sorted(minutes.items()):
            both = 0
            for number in ids:
                both ^= number
            books.append(Minute(minute, len(ids), _signed(both >> 64), _signed(both & (1 << 64) - 1)))
        return books

    async def republish(self, since: datetime, until: datetime) -> int:
        again = [firing for firing in self.firings if since <= firing.fired_at < until]
        if not self.heals:
            return 0
        await self.bench.intake.take_in(again)
        self.republished += len(again)
        return len(again)

    async def profile_sums(self, partner_id: int) -> list[ProfileSum]:
        async with self.bench.engine.connect() as connection:
            ours = await contact_sums(connection, partner_id or None)
        lost = [each for each in self.lost_profiles if partner_id in (0, each.partner_id)]
        return [*ours, *[replace(each, part=each.part if partner_id else 0) for each in lost]]

    async def republish_profiles(
        self, partner_id: int, parts: Sequence[int], after: int | None
    ) -> tuple[int, int | None]:
        self.asked_profiles.append((partner_id, list(parts), after))
        if after is None:
            return 1, 41
        if self.heals:
            self.lost_profiles = []
        return 1, None
