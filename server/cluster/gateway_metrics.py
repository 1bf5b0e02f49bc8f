"""Figures of a gateway, for Prometheus."""

from collections.abc import Callable
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
Outcome = Literal["redirected", "proxied", "waiting", "refused", "unreachable"]


class GatewayMetrics:
    """On a registry of their own; `gateway` is in the name of each, so that no worker's is meant."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._offers = Counter(
            "depthlive_gateway_offers", "Offers, by outcome", ["outcome"], registry=registry
        )
        self.placing = Histogram(
            "depthlive_gateway_placing_seconds",
            "Until placement answered",
            buckets=SECONDS,
            registry=registry,
        )
        self.responses = Counter(
            "depthlive_gateway_http_responses", "HTTP responses", ["status"], registry=registry
        )
        ProcessCollector(namespace="depthlive_gateway", registry=registry)

    def offer(self, outcome: Outcome) -> None:
        self._offers.labels(outcome).inc()

    def follow(self, name: str, help: str, read: Callable[[], float]) -> None:
        """A gauge of what `read` gives whenever figures are asked for."""
        Gauge(f"depthlive_gateway_{name}", help, registry=self._registry).set_function(read)

    def render(self) -> bytes:
        """Everything in the text format of Prometheus."""
        return generate_latest(self._registry)
