"""Why an alert fires or does not, as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from tocsin_evaluator.model.words import Reason


class Quiet(StrEnum):
    """Why an alert does not fire beside a `Reason`, which is for those that are true."""

    NOT_TRUE = "not_true"
    INACTIVE = "inactive"
    NO_FACT = "no_fact"
    BEFORE_ALERT = "before_alert"


WhyNot: TypeAlias = Reason | Quiet


@dataclass(frozen=True)
class ShownClause:
    """A part of the condition with the values that decide it."""

    name: str
    holds: bool
    values: Mapping[str, str]


@dataclass(frozen=True)
class ShownOccurrence:
    """An occurrence: whether the fact has reached it, and whether it is recorded, told or passed silently."""

    key: str
    percent: int | None
    reached: bool
    fired: bool | None
    at: datetime | None

    @property
    def is_recorded(self) -> bool:
        """Whether it is not told again."""
        return self.at is not None


@dataclass(frozen=True)
class ShownFact:
    """A fact as it is now, and what it comes to; `why_not` is None where it would fire."""

    id: int
    currency: str
    as_of: datetime
    clauses: Sequence[ShownClause]
    reasons: Sequence[tuple[Reason, bool]]
    occurrences: Sequence[ShownOccurrence]
    why_not: WhyNot | None


@dataclass(frozen=True)
class Crossing:
    """Whether an alert that fires once per crossing may fire: armed, and the account newer than what was seen."""

    armed: bool
    seen_version: int
    account_version: int


@dataclass(frozen=True)
class Explanation:
    """Of one alert at an instant; `why_not` is None where it would fire."""

    summary: str
    why_not: WhyNot | None
    at: datetime
    active: bool
    snoozed_until: datetime | None
    next_possible_at: datetime | None
    currency: str
    time_zone: str
    condition_version: int
    crossing: Crossing | None
    facts: Sequence[ShownFact]
