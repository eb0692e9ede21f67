"""What a kind of alert is: the expressions that everything else composes into one statement over a set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import (
    BindParameter,
    Boolean,
    ColumnElement,
    Date,
    DateTime,
    Table,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
)
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.sql.selectable import NamedFromClause

from tocsin_evaluator.kinds.past import History, NoHistory
from tocsin_evaluator.model.words import KindName, Reason
from tocsin_evaluator.store.tables import alerts, people

#: A balance older than this does not fire (evaluation page, "Stale facts stay quiet").
STALE_AFTER = timedelta(hours=48)


def _moment() -> ColumnElement[Any]:
    return bindparam("moment", type_=DateTime(timezone=True))


@dataclass(frozen=True)
class Rows:
    """What an expression may speak of: an alert, a fact, the fact's person (or none), and the instant.

    The instant `at` is the statement's, or a column of the fact's history where the past is evaluated.
    """

    alert: NamedFromClause
    fact: NamedFromClause
    person: NamedFromClause
    at: ColumnElement[Any] = field(default_factory=_moment)

    @cached_property
    def any_hour(self) -> BindParameter[bool]:
        """Whether bills fire before 06:00 local too: when their alert was just created or edited."""
        return bindparam("any_hour", type_=Boolean)

    @property
    def zone(self) -> ColumnElement[str]:
        """The person's time zone; UTC where the person is unknown."""
        return func.coalesce(self.person.c.time_zone, literal("UTC"), type_=Text)

    @property
    def local_time(self) -> ColumnElement[Any]:
        """The instant on the person's wall clock."""
        return func.timezone(self.zone, self.at, type_=DateTime())

    @property
    def today(self) -> ColumnElement[Any]:
        """The person's calendar day."""
        return cast(self.local_time, Date)


def rows_over(fact: Table) -> Rows:
    """Aliases for one statement over alerts and `fact`."""
    return Rows(alerts.alias("a"), fact.alias("f"), people.alias("p"))


Test = Callable[[Rows], ColumnElement[bool]]
Key = Callable[[Rows], ColumnElement[str]]


@dataclass(frozen=True)
class Clause:
    """A part of a condition by name: whether it holds, and the values that decide it as an explanation shows them."""

    name: str
    holds: ColumnElement[bool]
    shown: Mapping[str, ColumnElement[Any]]


@dataclass(frozen=True)
class Percents:
    """The clauses of one of an alert's percents, and which occurrence it is."""

    clauses: Callable[[Rows, ColumnElement[int]], Sequence[Clause]]
    key: Callable[[Rows, ColumnElement[int]], ColumnElement[str]]

    def reached(self, rows: Rows, percent: ColumnElement[int]) -> ColumnElement[bool]:
        """Whether `percent` is reached."""
        return and_(*[clause.holds for clause in self.clauses(rows, percent)])

    def lowest(self, rows: Rows) -> Sequence[Clause]:
        """The clauses of the first of the alert's percents, which are stored ascending."""
        percent: ColumnElement[int] = rows.alert.c.percents[1]
        return self.clauses(rows, percent)


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of alert, one object: statements are kept by it.

    `clauses` together are the condition: what makes it true. Of a kind with `percents` they are the lowest's.
    `reasons` name, in order, why a true one does not fire, as far as its own row and its fact say so; what was sent
    before is asked of the occurrences. `key` (one occurrence) or `percents` (several at once, of which the highest
    newly reached fires) names the occurrence, without the condition's version. `context` gives the values by the field
    names of the kind's context message; a percent kind takes the percent as well. `history` says how the past of a
    fact, given as it is now, is read (an empty mapping for kinds without a subject).

    What `can_cease` to hold after it fired is looked at again before a held message goes out. A kind
    `guarded_by_its_row` names a new occurrence at each firing: its reasons say when it may fire again, and the
    occurrences need not be asked. `rearms`, `crossing_version` and `quiet_until` say what is written to that row, and
    `may_rearm` what only the locked row can say `rearms` of.
    """

    name: KindName
    fact: Table
    clauses: Callable[[Rows], Sequence[Clause]]
    context: Callable[[Rows], dict[str, ColumnElement[Any]]]
    history: Callable[[Mapping[str, Any]], History | NoHistory]
    key: Key | None = None
    percents: Percents | None = None
    reasons: Sequence[tuple[Reason, Test]] = ()
    has_subject: bool = True
    is_swept: bool = False
    can_cease: bool = False
    may_rearm: Test | None = None
    rearms: Test | None = None
    crossing_version: Callable[[Rows], ColumnElement[int]] | None = None
    quiet_until: Callable[[Rows], ColumnElement[Any]] | None = None
    daily_digest: Test | None = None
    silent_when_new: bool = False
    guarded_by_its_row: bool = False

    def condition(self, rows: Rows) -> ColumnElement[bool]:
        """What makes it true: all clauses hold."""
        return and_(*[clause.holds for clause in self.clauses(rows)])

    @property
    def lost_to(self) -> Reason:
        """Why one that was found true did not fire after all: somebody else was first."""
        return Reason.COOLDOWN if self.guarded_by_its_row else Reason.ALREADY_SENT

    @property
    def is_event(self) -> bool:
        """Whether it looks at transactions: what they say once is said once."""
        return not self.has_subject

    def joins(self, rows: Rows) -> ColumnElement[bool]:
        """The one shared join: same partner and same user; the alert's own subject where it has one."""
        a, f = rows.alert.c, rows.fact.c
        same_owner = and_(f.partner_id == a.partner_id, f.user_id == a.user_id)
        return and_(same_owner, f.id == a.subject_id) if self.has_subject else same_owner


def money_text(amount: ColumnElement[Any]) -> ColumnElement[Any]:
    """An amount as JSON text with two to four decimals, as `tocsin_kit.money.amount_text` writes it."""
    trimmed = func.trim_scale(amount)
    return cast(case((func.scale(trimmed) < 2, func.round(amount, 2)), else_=trimmed), Text)


def instant_text(instant: ColumnElement[Any]) -> ColumnElement[str]:
    """An instant as RFC 3339, UTC, with microseconds."""
    return func.to_char(func.timezone("UTC", instant), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"', type_=Text)


def day_text(day: ColumnElement[Any]) -> ColumnElement[str]:
    """A calendar day as 2025-11-01."""
    return func.to_char(day, "YYYY-MM-DD", type_=Text)


def json_object(values: Mapping[str, ColumnElement[Any]]) -> ColumnElement[Any]:
    """Values by name as one JSON object, in this order."""
    pairs: list[object] = []
    for name, value in values.items():
        pairs += [literal(name, Text), value]
    return func.json_build_object(*pairs, type_=JSON)
