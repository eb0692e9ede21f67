"""All services' metrics merged: each sample gets the label `service` (Prometheus text format 0.0.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta

import aiohttp
import structlog
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

_LIMIT = timedelta(seconds=3)
_log = structlog.get_logger(__name__)


class _Merged:
    """A collector of what was parsed already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


class MergedMetrics:
    """Reads the other services' `/metrics` and puts the gateway's own beside them."""

    def __init__(self, own: CollectorRegistry, sources: Mapping[str, str]) -> None:
        self._own, self._sources = own, sources

    async def text(self) -> bytes:
        """The merged exposition; a service that does not answer in time is missing and logged."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_LIMIT.total_seconds())) as session:
            texts = await asyncio.gather(*(_fetched(session, name, url) for name, url in self._sources.items()))
        own = generate_latest(self._own).decode()
        merged: dict[str, Metric] = {}
        for service, text in (("gateway", own), *zip(self._sources, texts, strict=True)):
            for family in text_string_to_metric_families(text):
                _add(merged, family, service)
        return generate_latest(_Merged(merged.values()))


async def _fetched(session: aiohttp.ClientSession, service: str, url: str) -> str:
    try:
        async with session.get(url) as answer:
            answer.raise_for_status()
            return await answer.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        _log.warning("metrics_missing", service=service, error=type(error).__name__)
        return ""


def _add(merged: dict[str, Metric], family: Metric, service: str) -> None:
    """Put a service's samples into the family; `service` in a sample's own labels is kept as it is."""
    into = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
    for sample in family.samples:
        labels = {"service": service, **sample.labels}
        into.add_sample(sample.name, labels, sample.value)
