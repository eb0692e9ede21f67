"""The kinds that a replica evaluates."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from tocsin_evaluator.kinds.kind import Kind


@dataclass(frozen=True, eq=False)
class Registry:
    """Kinds of alert, each name once. Their order is the order in which transactions lock their alerts."""

    kinds: tuple[Kind, ...]

    @cached_property
    def swept(self) -> tuple[Kind, ...]:
        """Those a sweep looks at: their facts can become true by time alone."""
        return tuple(kind for kind in self.kinds if kind.is_swept)

    @cached_property
    def by_name(self) -> Mapping[str, Kind]:
        """Each by the word that alerts and firings store."""
        return {kind.name.value: kind for kind in self.kinds}
