"""Running an evaluation inside a transaction: scan, lock, fire.

A fact that changes while the firing statement waits for an alert's lock is not read again, so a sweep slice, a bills
run and an edit take three statements: the scan finds the true ones, the second locks them in order, the third fires
with a snapshot newer than every wait. Ingest holds its facts' rows and skips the second.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from tocsin_evaluator.evaluation.firing import firing_statement, locking_statement
from tocsin_evaluator.evaluation.scanning import scan_statement
from tocsin_evaluator.evaluation.scope import Scope
from tocsin_evaluator.evaluation.touched import Touched
from tocsin_evaluator.kinds.kind import Kind
from tocsin_evaluator.model.facts import NO_TRACE, Trace
from tocsin_evaluator.model.tally import Tally
from tocsin_evaluator.model.words import CLASS_OF, KindName, Reason, Verdict, Way
from tocsin_evaluator.store.planning import plan_for_the_numbers_at_hand


@dataclass(frozen=True)
class Moment:
    """When an evaluation takes place, in which way, and what goes with it.

    `any_hour` lets bills fire before 06:00 local.
    """

    at: datetime
    way: Way
    max_age: timedelta
    trace: Trace = NO_TRACE
    any_hour: bool = False

    def parameters(self) -> dict[str, object]:
        """As the statements name them: never as a column is called, or an UPDATE inside would set that column."""
        return {
            "moment": self.at,
            "any_hour": self.any_hour,
            "max_age": self.max_age,
            "work_class": CLASS_OF[self.way].value,
            "caller_trace": self.trace.traceparent,
        }

    @property
    def own_traces(self) -> bool:
        """Whether each firing starts a trace of its own: a run is not one trace with a million spans."""
        return self.way in (Way.SWEEP, Way.BILLS)


@dataclass
class Scanned:
    """What a scan found of one kind: numbers by verdict, and the alerts to look at again, as (partner, id); where facts
    have just come in each with its fact, as (partner, alert, fact).
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    chosen: set[tuple[int, int]] = field(default_factory=set)
    pairs: set[tuple[int, int, int]] = field(default_factory=set)

    def tally(self, fired: int, lost_to: Reason, evaluated: int | None) -> Tally:
        """The numbers after firing; who was found true and did not fire was lost to `lost_to`.

        `evaluated` is given where only the true ones were looked at.
        """
        reasons = Counter({reason: self.verdicts[reason] for reason in Reason if self.verdicts[reason]})
        if self.verdicts[Verdict.NOTE]:
            reasons[Reason.PASSED] += self.verdicts[Verdict.NOTE]
        lost = self.verdicts[Verdict.FIRE] - fired
        if lost > 0:
            reasons[lost_to] += lost
        counted = self.verdicts.total() if evaluated is None else evaluated
        return Tally(max(counted, fired + reasons.total()), fired, reasons)


async def scan(
    connection: AsyncConnection, kinds: Sequence[Kind], scope: Scope, parameters: Mapping[str, object]
) -> dict[KindName, Scanned]:
    """One plain SELECT over all `kinds`."""
    found = {kind.name: Scanned() for kind in kinds}
    by_word = {name.value: scanned for name, scanned in found.items()}
    statement = scan_statement(tuple(kinds), scope)
    for kind, verdict, n, partners, ids, fact_ids in await connection.execute(statement, parameters):
        scanned = by_word[kind]
        scanned.verdicts[verdict] += n
        scanned.chosen.update(zip(partners or (), ids or (), strict=True))
        if fact_ids:
            scanned.pairs.update(zip(partners, ids, fact_ids, strict=True))
    return found


def _chosen(scanned: Scanned) -> dict[str, object]:
    in_order = sorted(scanned.chosen)
    return {"alert_partner_ids": [each[0] for each in in_order], "alert_ids": [each[1] for each in in_order]}


async def fire_arrived(connection: AsyncConnection, touched: Touched, moment: Moment) -> dict[KindName, Tally]:
    """Evaluate what touches the facts this transaction has just written and holds. Kinds in the registry's order."""
    parameters, kinds = moment.parameters(), touched.kinds()
    found = await scan(connection, kinds, Scope.FACTS, {**parameters, **touched.parameters()})
    tallies = {}
    for kind in kinds:
        scanned = found[kind.name]
        fired = 0
        if await _has_work(connection, scanned):
            statement = firing_statement(kind, Scope.PAIRS, own_traces=False)
            pairs = touched.pair_parameters(kind.fact, sorted(scanned.pairs))
            fired = await connection.scalar(statement, {**parameters, **pairs}) or 0
        tallies[kind.name] = scanned.tally(fired, kind.lost_to, None)
    return tallies


async def _has_work(connection: AsyncConnection, scanned: Scanned) -> bool:
    """Whether the firing statement is to run. For crossings whose balance is on the other side it is when one is not
    armed, which only its lock tells: a sweep may be firing it on the balance of before.
    """
    if not scanned.verdicts[Verdict.REARM]:
        return bool(scanned.pairs)
    armed = (await connection.execute(locking_statement(), _chosen(scanned))).scalars().all()
    return not all(armed) or len(scanned.pairs) > scanned.verdicts[Verdict.REARM]


async def fire_in(
    connection: AsyncConnection,
    kind: Kind,
    scope: Scope,
    moment: Moment,
    where: Mapping[str, object],
    *,
    evaluated: int | None = None,
) -> Tally:
    """Evaluate the alerts of a kind in a scope: the three statements. `where` holds the scope's parameters."""
    parameters = {**moment.parameters(), **where}
    await plan_for_the_numbers_at_hand(connection)
    scanned = (await scan(connection, [kind], scope, parameters))[kind.name]
    fired = 0
    if scanned.chosen:
        chosen = _chosen(scanned)
        await connection.execute(locking_statement(), chosen)
        statement = firing_statement(kind, Scope.CHOSEN, own_traces=moment.own_traces)
        fired = await connection.scalar(statement, {**parameters, **chosen}) or 0
    return scanned.tally(fired, kind.lost_to, evaluated)
