"""What the matrix calls lost, repeated, unexplained and wrong, on records written by hand."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.chaos.matrix.answers import Fate, expected
from tests.chaos.matrix.cells import ROUNDS, SHORT, Answer, Blow, Cell, Step, Way, cells_of
from tests.chaos.matrix.judging import judge
from tests.chaos.matrix.records import AttemptRow, DeliveryRow, Record, Taken

NOW = datetime(2025, 11, 3, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
KILLED = Cell(1, Way.PUSH, Answer.OK, Step.TAKEN, Blow.KILL)
DELIVERY = DeliveryRow("d-1", "f-1", "push", "sent", None, None, None)
INBOX = replace(DELIVERY, id="d-2", channel="in_app")
#: A push message that the provider had when the worker was killed, and that was repeated, marked.
GOOD = Record(
    fired=("f-1",),
    told=("f-1",),
    planned=2,
    deliveries=(INBOX, DELIVERY),
    attempts=(AttemptRow(1, NOW, "unknown", False), AttemptRow(2, NOW + 9 * SECOND, "accepted", True)),
    calls=2,
    taken=(Taken("d-1", None, NOW + SECOND), Taken("d-1", None, NOW + 10 * SECOND)),
)
LATER = NOW + timedelta(minutes=1)


def with_delivery(**changes: object) -> Record:
    """The good record but for its delivery."""
    changed = replace(DELIVERY, **changes)  # type: ignore[arg-type]
    return replace(GOOD, deliveries=(INBOX, changed))


def test_a_marked_repeat_after_a_kill_is_good() -> None:
    """It is counted and explained."""
    verdict = judge(KILLED, GOOD, LATER)
    assert (verdict.is_good, verdict.fate, verdict.repeats, verdict.unexplained) == (True, "sent", 1, 0)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (replace(GOOD, fired=(), told=()), "nothing fired"),
        (replace(GOOD, told=()), "firing f-1 has no notification"),
        (replace(GOOD, planned=3), "3 deliveries were planned and 2 are there"),
        (replace(GOOD, deliveries=(INBOX,)), "no delivery by the way that was asked for"),
        (with_delivery(status="sending", leased_until=NOW, due_at=NOW), "sending past its lease"),
        (with_delivery(status="sending", due_at=NOW), "sending past its lease"),
        (with_delivery(status="retrying"), "retrying, and nobody will look at it again"),
        (with_delivery(status="merged"), "merged: no state that a message of its own ends in"),
        (replace(GOOD, taken=()), "sent, and the provider never had it"),
        (replace(GOOD, taken=(Taken("d-9", None, NOW),)), "sent, and the provider never had it"),
        (replace(with_delivery(status="failed"), attempts=()), "failed without a reason or a history"),
    ],
)
def test_what_is_not_there_or_will_never_be_worked_on_is_lost(record: Record, said: str) -> None:
    """Each thing by itself."""
    assert said in judge(KILLED, record, LATER).lost


def test_a_waiting_message_with_a_history_is_not_lost() -> None:
    """It is only not as expected."""
    verdict = judge(KILLED, with_delivery(status="retrying", due_at=LATER), LATER)
    assert (verdict.lost, verdict.wrong) == ((), ("waiting (retrying) in place of sent",))


def test_what_is_sending_within_its_lease_is_in_a_worker_s_hands() -> None:
    """Not lost, and not at its end."""
    verdict = judge(KILLED, with_delivery(status="sending", due_at=LATER, leased_until=LATER + SECOND), LATER)
    assert verdict.lost == ()
    assert verdict.wrong


def test_a_repeat_whose_attempt_is_not_marked_is_unexplained() -> None:
    """By the attempt's number where the provider was told it, else by its time."""
    unmarked = tuple(replace(attempt, possible_duplicate=False) for attempt in GOOD.attempts)
    assert judge(KILLED, replace(GOOD, attempts=unmarked), LATER).unexplained == 1
    by_number = replace(GOOD, taken=(Taken("d-1", 1, NOW), Taken("d-1", 2, NOW)))
    assert judge(KILLED, by_number, LATER).unexplained == 0
    assert judge(KILLED, replace(by_number, attempts=unmarked), LATER).unexplained == 1
    again = replace(GOOD, taken=(*GOOD.taken[:1], Taken("d-1", None, NOW + 2 * SECOND)))
    assert judge(KILLED, again, LATER).unexplained == 1, "taken twice by the first attempt, which is not marked"


@pytest.mark.parametrize(
    ("cell", "fate", "least", "most"),
    [
        (KILLED, Fate.SENT, 2, 2),
        (replace(KILLED, way=Way.SMS), Fate.SENT, 1, 1),
        (replace(KILLED, answer=Answer.RESET_AFTER), Fate.SENT, 3, 3),
        (replace(KILLED, step=Step.WRITTEN), Fate.SENT, 1, 1),
        (replace(KILLED, step=Step.ANSWERED), Fate.SENT, 2, 2),
        (replace(KILLED, step=Step.ANSWERED, blow=Blow.KILL_POSTGRES), Fate.SENT, 1, 1),
        (replace(KILLED, step=Step.ANSWERED, answer=Answer.NOT_FOUND), Fate.FAILED, 0, 0),
        (replace(KILLED, step=Step.ANSWERED, answer=Answer.NOT_FOUND, way=Way.WEBHOOK), Fate.SENT, 1, 1),
        (replace(KILLED, step=Step.WRITTEN, answer=Answer.ERROR, way=Way.SMS), Fate.FAILED, 0, 0),
        (replace(KILLED, step=Step.NOWHERE, blow=Blow.NONE, answer=Answer.SILENT_AFTER), Fate.SENT, 2, 2),
        (
            replace(KILLED, step=Step.NOWHERE, blow=Blow.NONE, answer=Answer.SILENT_AFTER, way=Way.SENDGRID),
            Fate.SENT,
            1,
            2,
        ),
        (replace(KILLED, step=Step.NOWHERE, blow=Blow.NONE, answer=Answer.ALWAYS_ERROR), Fate.WAITING, 0, 0),
    ],
    ids=str,
)
def test_what_is_expected_of_a_cell(cell: Cell, fate: Fate, least: int, most: int) -> None:
    """Its fate, and how often the provider takes it."""
    wanted = expected(cell)
    assert (wanted.fate, wanted.least, wanted.most) == (fate, least, most)


def test_the_matrix_has_each_answer_by_each_way_and_each_step_of_the_worker_by_each_way() -> None:
    """And no square twice."""
    cells = [cell for _, of_round in cells_of(ROUNDS, list(Way)) for cell in of_round]
    assert len(cells) >= 100
    assert max(Counter(str(cell) for cell in cells).values()) == 1
    assert max(Counter(cell.number for cell in cells).values()) == 1
    plain = {(cell.answer, cell.way) for cell in cells if cell.blow is Blow.NONE}
    assert plain == {(answer, way) for answer in Answer for way in Way}
    killed = {(cell.step, cell.way) for cell in cells if cell.blow is Blow.KILL}
    at_work = set(Step) - {Step.NOWHERE, Step.NOT_POSTED, Step.AFTERWARDS}
    assert killed == {(step, way) for step in at_work for way in Way}
    assert {cell.blow for cell in cells} == set(Blow)


def test_rounds_without_a_cell_of_the_ways_asked_for_are_left_out() -> None:
    """The short run has none by SMTP."""
    assert cells_of(SHORT, [Way.SMTP]) == []
    assert [len(cells) for _, cells in cells_of(SHORT, [Way.SMS])] == [2, 1]
