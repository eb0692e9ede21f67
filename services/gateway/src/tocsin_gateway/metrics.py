"""What the gateway itself counts, beside the suite's metrics."""

from prometheus_client import CollectorRegistry, Counter, Histogram

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class GatewayMetrics:
    """The gateway's own metrics on one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "tocsin_http_requests_total", "HTTP requests answered.", ("method", "route", "status"), registry=registry
        )
        self.duration = Histogram(
            "tocsin_http_request_duration_seconds",
            "Duration of HTTP requests.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=registry,
        )
        self.callbacks = Counter(
            "tocsin_callbacks_total",
            "Provider callbacks by what became of them: stored, forged, too_slow, too_large, not_stored.",
            ("provider", "outcome"),
            registry=registry,
        )
