"""What is tried: each cell is one message to one person by one way, with a fault of its own. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Way(StrEnum):
    """How a message leaves."""

    SENDGRID = "sendgrid"
    SMTP = "smtp"
    SMS = "sms"
    PUSH = "push"
    WEBHOOK = "webhook"

    @property
    def channel(self) -> str:
        """The product's channel."""
        return "email" if self in (Way.SENDGRID, Way.SMTP) else str(self)


class Answer(StrEnum):
    """What the provider does with the first call that gets so far (with each one, where it refuses for good)."""

    OK = "200"
    BAD_REQUEST = "400"
    UNAUTHORIZED = "401"
    NOT_FOUND = "404"
    TOO_LARGE = "413"
    THROTTLED = "429"
    THROTTLED_UNTIL = "429 + reset"
    ERROR = "500"
    UNAVAILABLE = "503"
    SILENT_BEFORE = "time-out before"
    SILENT_AFTER = "time-out after"
    RESET_BEFORE = "reset before"
    RESET_AFTER = "reset after"
    GARBAGE = "garbage"
    DRIP = "slow drip"
    ALWAYS_ERROR = "500 for ever"
    ALWAYS_UNAUTHORIZED = "401 for ever"


class Step(StrEnum):
    """Where the work on the message stands when the blow falls."""

    NOWHERE = ""
    NOT_POSTED = "before the fact"
    AFTERWARDS = "fact after the kill"
    INTAKE = "in intake"
    TAKEN_IN = "after intake, unacknowledged"
    CLAIMED = "after the claim"
    WRITTEN = "after the attempt is written"
    UNREAD = "in the call, not taken"
    TAKEN = "in the call, taken"
    ANSWERED = "after the answer"
    SETTLED = "after the outcome"


class Blow(StrEnum):
    """What falls."""

    NONE = "none"
    KILL = "kill -9"
    KILL_ONE_OF_TWO = "kill -9 one of 2"
    RESTART_NATS = "restart NATS"
    KILL_NATS = "kill -9 NATS"
    RESTART_POSTGRES = "restart PostgreSQL"
    KILL_POSTGRES = "kill -9 PostgreSQL"

    @property
    def kills_dispatcher(self) -> bool:
        """Whether a dispatcher dies by it."""
        return self in (Blow.KILL, Blow.KILL_ONE_OF_TWO)


@dataclass(frozen=True)
class Cell:
    """One square of the matrix; the number names its person."""

    number: int
    way: Way
    answer: Answer
    step: Step
    blow: Blow

    def __str__(self) -> str:
        return f"{self.row}, {self.answer}, {self.way}"

    @property
    def row(self) -> str:
        """The blow and the step."""
        return str(self.blow) if self.step is Step.NOWHERE else f"{self.blow} {self.step}"


@dataclass(frozen=True)
class Round:
    """Cells that are lived through together: one blow at one step. `afterwards` are answers to facts posted when it has
    fallen, before what fell is up again."""

    step: Step
    blow: Blow
    answers: tuple[Answer, ...]
    ways: tuple[Way, ...] = tuple(Way)
    afterwards: tuple[Answer, ...] = ()

    @property
    def name(self) -> str:
        """The blow and the step."""
        return str(self.blow) if self.step is Step.NOWHERE else f"{self.blow} {self.step}"


_A = Answer
_ONCE = tuple(answer for answer in Answer if answer not in (_A.ALWAYS_ERROR, _A.ALWAYS_UNAUTHORIZED))

#: In the order in which they are lived through. What stood in intake comes again when the broker misses its
#: acknowledgement, half a minute later: the next round, which takes longer and kills nobody, covers that.
ROUNDS: tuple[Round, ...] = (
    Round(Step.INTAKE, Blow.KILL, (_A.OK, _A.BAD_REQUEST)),
    Round(Step.NOWHERE, Blow.NONE, _ONCE),
    Round(Step.TAKEN_IN, Blow.KILL, (_A.OK, _A.THROTTLED)),
    Round(Step.CLAIMED, Blow.KILL, (_A.OK, _A.ERROR, _A.THROTTLED_UNTIL, _A.SILENT_AFTER)),
    Round(Step.WRITTEN, Blow.KILL, (_A.OK, _A.BAD_REQUEST, _A.UNAVAILABLE)),
    Round(Step.UNREAD, Blow.KILL, (_A.OK, _A.UNAVAILABLE, _A.THROTTLED_UNTIL)),
    Round(Step.TAKEN, Blow.KILL, (_A.OK, _A.ERROR, _A.RESET_AFTER)),
    Round(Step.ANSWERED, Blow.KILL, (_A.OK, _A.BAD_REQUEST, _A.ERROR, _A.THROTTLED)),
    Round(Step.SETTLED, Blow.KILL, (_A.OK,)),
    Round(Step.NOT_POSTED, Blow.KILL_NATS, (_A.OK, _A.ERROR)),
    Round(Step.TAKEN_IN, Blow.KILL_NATS, (_A.OK,)),
    Round(Step.ANSWERED, Blow.RESTART_NATS, (_A.OK, _A.ERROR)),
    Round(Step.INTAKE, Blow.KILL_POSTGRES, (_A.OK,)),
    Round(Step.CLAIMED, Blow.KILL_POSTGRES, (_A.OK, _A.ERROR)),
    Round(Step.ANSWERED, Blow.KILL_POSTGRES, (_A.OK, _A.BAD_REQUEST, _A.ERROR)),
    Round(Step.ANSWERED, Blow.RESTART_POSTGRES, (_A.OK, _A.THROTTLED_UNTIL)),
    Round(Step.CLAIMED, Blow.KILL_ONE_OF_TWO, (_A.OK, _A.ERROR), afterwards=(_A.OK, _A.RESET_AFTER)),
    Round(Step.ANSWERED, Blow.KILL_ONE_OF_TWO, (_A.OK, _A.BAD_REQUEST), afterwards=(_A.ERROR,)),
    Round(Step.NOWHERE, Blow.NONE, (_A.ALWAYS_ERROR,)),
    Round(Step.NOWHERE, Blow.NONE, (_A.ALWAYS_UNAUTHORIZED,)),
)

#: What `make test` lives through, so that the matrix works when it is wanted.
SHORT: tuple[Round, ...] = (
    Round(Step.TAKEN, Blow.KILL, (_A.OK, _A.ERROR), ways=(Way.SENDGRID, Way.SMS, Way.PUSH, Way.WEBHOOK)),
    Round(Step.CLAIMED, Blow.KILL_POSTGRES, (_A.OK,), ways=(Way.SENDGRID, Way.SMS)),
)


def cells_of(rounds: Sequence[Round], ways: Sequence[Way]) -> list[tuple[Round, list[Cell]]]:
    """The cells of each round, numbered through, those of the ways asked for; rounds without any are left out."""
    made: list[tuple[Round, list[Cell]]] = []
    number = 0
    for one in rounds:
        cells = []
        for answer, step in [*((answer, one.step) for answer in one.answers), *_afterwards(one)]:
            for way in one.ways:
                number += 1
                if way in ways:
                    cells.append(Cell(number, way, answer, step, one.blow))
        if cells:
            made.append((one, cells))
    return made


def _afterwards(one: Round) -> list[tuple[Answer, Step]]:
    return [(answer, Step.AFTERWARDS) for answer in one.afterwards]
