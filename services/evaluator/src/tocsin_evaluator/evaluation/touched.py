"""Facts that a transaction has just written: what the real-time evaluation looks at."""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Table

from tocsin_evaluator.evaluation.scope import facts_parameter
from tocsin_evaluator.kinds.kind import Kind
from tocsin_evaluator.kinds.registry import Registry
from tocsin_evaluator.model.facts import Arrival, Trace

Key = tuple[int, int]


@dataclass(frozen=True)
class Touch:
    """How a fact came: whether as history, and in which trace."""

    backfill: bool
    trace: Trace


@dataclass
class Touched:
    """The written facts by table and (partner, id)."""

    registry: Registry
    by_table: dict[Table, dict[Key, Touch]] = field(default_factory=dict)

    def add(self, table: Table, key: Key, touch: Touch) -> None:
        """Note a fact. One that came as news as well as history is news."""
        touches = self.by_table.setdefault(table, {})
        before = touches.get(key)
        if before is None or before.backfill:
            touches[key] = touch

    def add_written(self, table: Table, arrivals: Iterable[Arrival], written: Container[Key]) -> None:
        """Note those of the arrivals that were written, each as it came."""
        for each in arrivals:
            key = (each.fact.partner_id, each.fact.id)
            if key in written:
                self.add(table, key, Touch(each.backfill, each.trace))

    def kinds(self) -> list[Kind]:
        """The kinds of alert that look at such facts, in the registry's order."""
        return [kind for kind in self.registry.kinds if self.by_table.get(kind.fact)]

    def parameters(self) -> dict[str, object]:
        """The facts as the parameters of Scope.FACTS."""
        arrays: dict[str, object] = {}
        for kind in self.kinds():
            facts = sorted(self.by_table[kind.fact].items())
            columns = {
                "partner_id": [key[0] for key, _ in facts],
                "id": [key[1] for key, _ in facts],
                "backfill": [touch.backfill for _, touch in facts],
                "traceparent": [touch.trace.traceparent for _, touch in facts],
                "tracestate": [touch.trace.tracestate for _, touch in facts],
            }
            arrays |= {facts_parameter(kind, name): values for name, values in columns.items()}
        return arrays

    def pair_parameters(self, table: Table, pairs: Sequence[tuple[int, int, int]]) -> dict[str, object]:
        """Pairs of an alert and one of the facts, as (partner, alert, fact), as the parameters of Scope.PAIRS."""
        traces = [self.by_table[table][partner, fact].trace for partner, _, fact in pairs]
        return {
            "pair_partner_id": [partner for partner, _, _ in pairs],
            "pair_alert_id": [alert for _, alert, _ in pairs],
            "pair_fact_id": [fact for _, _, fact in pairs],
            "pair_traceparent": [trace.traceparent for trace in traces],
            "pair_tracestate": [trace.tracestate for trace in traces],
        }
