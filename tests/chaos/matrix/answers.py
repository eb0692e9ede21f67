"""Each answer as orders to the simulator of a way, and what should become of a message that gets it. Pure.

What an answer means follows from the design page ("Outcomes") and the providers' documents; here is only whether the
message should arrive, and how often it may.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from tests.chaos.matrix.cells import Answer, Blow, Cell, Step, Way
from tocsin_devstack.faults import (
    CallbackBehaviour,
    CallbackFault,
    CallBehaviour,
    CallFault,
    Provider,
    Receiver,
    Stage,
)

SIMULATORS: Mapping[Way, Provider | Receiver] = {
    Way.SENDGRID: Provider.SENDGRID,
    Way.SMTP: Receiver.SMTP,
    Way.SMS: Provider.TWILIO,
    Way.PUSH: Receiver.WEBPUSH,
    Way.WEBHOOK: Receiver.WEBHOOK,
}
RESET_IN = timedelta(seconds=2)
#: Two bytes come later than any call's time limit here.
_BETWEEN_BYTES = timedelta(seconds=3)

_HTTP: Mapping[Answer, int] = {
    Answer.BAD_REQUEST: 400,
    Answer.UNAUTHORIZED: 401,
    Answer.ALWAYS_UNAUTHORIZED: 401,
    Answer.NOT_FOUND: 404,
    Answer.TOO_LARGE: 413,
    Answer.THROTTLED: 429,
    Answer.THROTTLED_UNTIL: 429,
    Answer.ERROR: 500,
    Answer.ALWAYS_ERROR: 500,
    Answer.UNAVAILABLE: 503,
}
_TWILIO_CODES: Mapping[Answer, int] = {
    Answer.BAD_REQUEST: 21211,
    Answer.UNAUTHORIZED: 20003,
    Answer.ALWAYS_UNAUTHORIZED: 20003,
    Answer.NOT_FOUND: 20404,
    Answer.TOO_LARGE: 21617,
    Answer.UNAVAILABLE: 20503,
}
#: What a mail server says in the place of each: the code with its text, and where.
_SMTP: Mapping[Answer, tuple[int, str, Stage]] = {
    Answer.BAD_REQUEST: (554, "5.6.0 not well made", Stage.END),
    Answer.UNAUTHORIZED: (535, "5.7.8 credentials refused", Stage.RCPT),
    Answer.ALWAYS_UNAUTHORIZED: (535, "5.7.8 credentials refused", Stage.RCPT),
    Answer.NOT_FOUND: (550, "5.1.1 no such mailbox", Stage.RCPT),
    Answer.TOO_LARGE: (552, "5.3.4 too large", Stage.DATA),
    Answer.THROTTLED: (450, "4.7.28 too much mail from you", Stage.RCPT),
    Answer.THROTTLED_UNTIL: (454, "4.3.0 Throttling failure: rate exceeded", Stage.END),
    Answer.ERROR: (451, "4.3.0 local error", Stage.END),
    Answer.ALWAYS_ERROR: (451, "4.3.0 local error", Stage.END),
    Answer.UNAVAILABLE: (421, "4.3.2 going down", Stage.END),
}
_BEHAVIOURS: Mapping[Answer, CallBehaviour] = {
    Answer.SILENT_BEFORE: CallBehaviour.HANG_BEFORE,
    Answer.SILENT_AFTER: CallBehaviour.HANG_AFTER,
    Answer.RESET_BEFORE: CallBehaviour.RESET_BEFORE,
    Answer.RESET_AFTER: CallBehaviour.RESET_AFTER,
    Answer.GARBAGE: CallBehaviour.GARBAGE,
    Answer.DRIP: CallBehaviour.DRIP,
}
_REFUSED = (Answer.BAD_REQUEST, Answer.NOT_FOUND, Answer.TOO_LARGE)
#: Refused for good. A webhook's endpoint is never believed so; Twilio's 404 is about our account.
_FOR_GOOD: Mapping[Way, frozenset[Answer]] = {
    Way.SENDGRID: frozenset(_REFUSED),
    Way.SMTP: frozenset(_REFUSED),
    Way.SMS: frozenset((Answer.BAD_REQUEST, Answer.TOO_LARGE)),
    Way.PUSH: frozenset(_REFUSED),
    Way.WEBHOOK: frozenset(),
}
_FOR_EVER = frozenset((Answer.ALWAYS_ERROR, Answer.ALWAYS_UNAUTHORIZED))
#: The provider has it, and the worker hears nothing that it can believe.
_TAKEN_IN_SILENCE = frozenset((Answer.SILENT_AFTER, Answer.RESET_AFTER, Answer.DRIP))
#: Nobody has it, and to Twilio's customer it looks as if somebody might.
_DOUBTED_TEXT = frozenset(
    (Answer.ERROR, Answer.UNAVAILABLE, Answer.SILENT_BEFORE, Answer.RESET_BEFORE, Answer.ALWAYS_ERROR)
)


class Fate(StrEnum):
    """What should become of a cell's message."""

    SENT = "sent"
    FAILED = "failed"
    WAITING = "waiting"


@dataclass(frozen=True)
class Expected:
    """Its fate, and how often the provider takes it: at least and at most."""

    fate: Fate
    least: int
    most: int


def is_for_good(way: Way, answer: Answer) -> bool:
    """Whether the answer refuses the message for good, by this way."""
    return answer in _FOR_GOOD[way]


def takes_it(way: Way, answer: Answer) -> bool:
    """Whether the provider has the message after this answer."""
    return answer in (Answer.OK, Answer.GARBAGE) or answer in _TAKEN_IN_SILENCE


def orders(cell: Cell, recipient: str) -> list[CallFault | CallbackFault]:
    """What the simulator of the cell's way is told. Where the worker dies in a call, that call hangs and the next one
    gets the answer."""
    mute = [CallbackFault(Provider.SENDGRID, CallbackBehaviour.DROP, recipient=recipient)] if _is_mute(cell) else []
    return [*_orders(cell, recipient), *mute]


def _orders(cell: Cell, recipient: str) -> list[CallFault]:
    hangs = {Step.UNREAD: CallBehaviour.HANG_BEFORE, Step.TAKEN: CallBehaviour.HANG_AFTER}.get(cell.step)
    simulator = SIMULATORS[cell.way]
    held = [] if hangs is None else [CallFault(simulator, hangs, recipient=recipient, times=1)]
    fault = _fault(cell.way, cell.answer)
    if fault is None:
        return held
    lasts = is_for_good(cell.way, cell.answer) or cell.answer in _FOR_EVER
    # Orders count what they match; an order at an earlier stage of SMTP counts also the call that hangs at its end.
    first = 2 if held else 1
    return [*held, replace(fault, recipient=recipient, from_call=first, times=None if lasts else 1)]


def _fault(way: Way, answer: Answer) -> CallFault | None:
    simulator = SIMULATORS[way]
    if answer is Answer.OK:
        return None
    if (behaviour := _BEHAVIOURS.get(answer)) is not None:
        return CallFault(simulator, behaviour, delay=_BETWEEN_BYTES if answer is Answer.DRIP else timedelta())
    if way is Way.SMTP:
        code, text, stage = _SMTP[answer]
        return CallFault(simulator, CallBehaviour.STATUS, status=code, message=text, stage=stage)
    told = answer is Answer.THROTTLED_UNTIL
    return CallFault(
        simulator,
        CallBehaviour.STATUS,
        status=_HTTP[answer],
        code=_TWILIO_CODES.get(answer) if way is Way.SMS else None,
        reset_in=RESET_IN if told and way is Way.SENDGRID else None,
        headers={"Retry-After": f"{RESET_IN.seconds}"} if told and way is not Way.SENDGRID else {},
    )


def _is_mute(cell: Cell) -> bool:
    """Whether SendGrid tells nothing of the message, where its events would make good what the blow did: so an e-mail
    that nobody heard of is surely repeated, and one whose outcome PostgreSQL did not take surely is not."""
    of_postgres = cell.blow in (Blow.KILL_POSTGRES, Blow.RESTART_POSTGRES)
    return cell.way is Way.SENDGRID and cell.blow is not Blow.NONE and (of_postgres or _unheard(cell) > 0)


def expected(cell: Cell) -> Expected:
    """What should become of it. Texts are never repeated without asking."""
    if is_for_good(cell.way, cell.answer):
        before = int(cell.step is Step.TAKEN)
        return Expected(Fate.FAILED, before, before)
    if cell.answer in _FOR_EVER:
        failed = cell.way is Way.SMS and cell.answer in _DOUBTED_TEXT
        return Expected(Fate.FAILED if failed else Fate.WAITING, 0, 0)
    if _is_doubted_twice(cell):
        return Expected(Fate.FAILED, 0, 0)
    most = 1 if cell.way is Way.SMS else 1 + _unheard(cell)
    may_be_told = cell.way is Way.SENDGRID and not _is_mute(cell)
    return Expected(Fate.SENT, 1 if may_be_told else most, most)


def _is_doubted_twice(cell: Cell) -> bool:
    """A text is repeated once after an unknown outcome: the answer to the repeat is the second one."""
    lost_before = cell.blow.kills_dispatcher and cell.step in (Step.WRITTEN, Step.UNREAD)
    return cell.way is Way.SMS and lost_before and cell.answer in _DOUBTED_TEXT


def _unheard(cell: Cell) -> int:
    """How often the provider has it and nobody hears of it."""
    in_silence = cell.answer in _TAKEN_IN_SILENCE or (cell.way is Way.SMTP and cell.answer is Answer.GARBAGE)
    dies = cell.blow.kills_dispatcher and (
        cell.step is Step.TAKEN or (cell.step is Step.ANSWERED and takes_it(cell.way, cell.answer))
    )
    hangs_on = cell.step is Step.TAKEN and cell.blow is not Blow.NONE and not cell.blow.kills_dispatcher
    return int(in_silence) + int(dies) + int(hangs_on)
