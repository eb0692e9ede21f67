"""What of a cell's record is lost, repeated, repeated without a mark, or not as expected. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tests.chaos.matrix.answers import Expected, Fate, expected
from tests.chaos.matrix.cells import Cell
from tests.chaos.matrix.records import AttemptRow, DeliveryRow, Record, Taken

_LEFT = ("sent", "delivered", "bounced")
_ENDED_UNSENT = ("failed", "suppressed", "expired")
_WAITING = ("pending", "held", "retrying", "unknown")


@dataclass(frozen=True)
class Verdict:
    """Of one cell. `lost` says what is, each in words; `wrong` what is otherwise than expected."""

    cell: Cell
    fate: str
    lost: tuple[str, ...]
    repeats: int
    unexplained: int
    wrong: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """Whether nothing is lost, unexplained or unexpected."""
        return not (self.lost or self.unexplained or self.wrong)


def fate_of(delivery: DeliveryRow | None) -> str:
    """In one word: sent, waiting, or the state itself."""
    if delivery is None:
        return "missing"
    if delivery.status in _LEFT:
        return Fate.SENT
    return Fate.WAITING if delivery.status in _WAITING else delivery.status


def judge(cell: Cell, record: Record, now: datetime) -> Verdict:
    """What became of a cell's message, at `now`."""
    delivery, wanted = record.delivery(cell.way.channel), expected(cell)
    beyond = record.taken[1:]
    return Verdict(
        cell=cell,
        fate=fate_of(delivery),
        lost=tuple(_lost(record, delivery, now)),
        repeats=len(beyond),
        unexplained=sum(not _is_explained(one, record.attempts) for one in beyond),
        wrong=tuple(_wrong(record, delivery, wanted)),
    )


def _lost(record: Record, delivery: DeliveryRow | None, now: datetime) -> list[str]:
    """What there should be and is not, or will never be worked on."""
    lost = [f"firing {id_} has no notification" for id_ in sorted(set(record.fired) - set(record.told))]
    if not record.fired:
        lost.append("nothing fired")
    if len(record.deliveries) != record.planned:
        lost.append(f"{record.planned} deliveries were planned and {len(record.deliveries)} are there")
    if delivery is None:
        return [*lost, "no delivery by the way that was asked for"]
    return [*lost, *_stuck(delivery, now), *_never_left(record, delivery)]


def _stuck(delivery: DeliveryRow, now: datetime) -> list[str]:
    is_working = delivery.status == "sending"
    if is_working and (delivery.leased_until is None or delivery.leased_until < now):
        return ["sending past its lease"]
    if (is_working or delivery.status in _WAITING) and delivery.due_at is None:
        return [f"{delivery.status}, and nobody will look at it again"]
    if delivery.status not in (*_LEFT, *_ENDED_UNSENT, *_WAITING, "sending"):
        return [f"{delivery.status}: no state that a message of its own ends in"]
    return []


def _never_left(record: Record, delivery: DeliveryRow) -> list[str]:
    """What says that it left must have been taken; what was not must say why."""
    if delivery.status in _LEFT:
        ours = [one for one in record.taken if one.delivery_id == delivery.id]
        return [] if ours else [f"{delivery.status}, and the provider never had it"]
    explains = delivery.reason is not None or any(one.outcome for one in record.attempts)
    return [] if explains else [f"{delivery.status} without a reason or a history"]


def _is_explained(taken: Taken, attempts: Sequence[AttemptRow]) -> bool:
    """Whether the attempt by which it was taken is marked; where the provider was not told its number, it is the last
    one begun before."""
    begun = [one for one in attempts if one.started_at <= taken.at]
    by = [one for one in attempts if one.number == taken.attempt] if taken.attempt is not None else begun[-1:]
    return any(one.possible_duplicate for one in by)


def _wrong(record: Record, delivery: DeliveryRow | None, wanted: Expected) -> list[str]:
    wrong = []
    if (fate := fate_of(delivery)) != wanted.fate:
        wrong.append(f"{fate} ({'' if delivery is None else delivery.status}) in place of {wanted.fate}")
    if not wanted.least <= len(record.taken) <= wanted.most:
        wrong.append(f"taken {len(record.taken)} times in place of {_times(wanted)}")
    if len(record.fired) > 1:
        wrong.append(f"fired {len(record.fired)} times")
    if surplus := set(record.told) - set(record.fired):
        wrong.append(f"{len(surplus)} notifications without a firing")
    return wrong


def _times(wanted: Expected) -> str:
    return str(wanted.most) if wanted.least == wanted.most else f"{wanted.least} to {wanted.most}"
