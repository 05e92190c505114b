"""What is still to be delivered, as Prometheus metrics. What was delivered is in `api.jobs.totals`."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.webhooks.store import WebhookStore


class BacklogMetrics(Collector):
    """Figures that are read when they are asked for.

    Args:
        store: of the deliveries.
    """

    def __init__(self, store: WebhookStore) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        """The figures of now."""
        backlog = self._store.backlog()
        yield GaugeMetricFamily(
            "audio_webhooks_pending", "Webhooks that are neither delivered nor given up.", backlog.count
        )
        yield GaugeMetricFamily(
            "audio_webhooks_oldest_pending_seconds",
            "Seconds since the end of the job whose webhook waits longest.",
            backlog.oldest_s,
        )
