"""The gauges of what waits."""

from prometheus_client import CollectorRegistry

from tocsin_dispatcher.auditing.gauges import Gauges
from tocsin_dispatcher.store import tables
from tocsin_kit.postgres.outbox import Outbox
from tocsin_kit.telemetry.metrics import Metrics

from .conftest import MakeBench


async def test_gauges_show_what_is_held_and_why_until_it_is_gone(benches: MakeBench) -> None:
    bench, registry = await benches(), CollectorRegistry()
    gauges = Gauges(
        bench.engine, Outbox.on(tables.outbox, bench.activity, "dispatcher"), Metrics(registry), bench.clock
    )
    await bench.intake.take_in([bench.firing()])
    await gauges.refresh()
    assert registry.get_sample_value("tocsin_held_deliveries", {"reason": "profile_awaited"}) == 1
    assert registry.get_sample_value("alert_queue_depth", {"queue_name": "deliveries.email"}) == 1
    await bench.profile()
    async with bench.working():
        pass
    await gauges.refresh()
    assert registry.get_sample_value("tocsin_held_deliveries", {"reason": "profile_awaited"}) is None
    assert registry.get_sample_value("alert_queue_depth", {"queue_name": "deliveries.email"}) == 0
