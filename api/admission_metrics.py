"""Whether the service takes work, as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.jobs.admission import REASONS, Admission


class AdmissionMetrics(Collector):
    """Figures that are read when they are asked for.

    Args:
        admission: that is asked.
        max_queued: jobs that may wait.
    """

    def __init__(self, admission: Admission, max_queued: int) -> None:
        self._admission, self._max_queued = admission, max_queued

    def collect(self) -> Iterator[Metric]:
        """The figures of now."""
        reasons = self._admission.state().reasons
        closed = GaugeMetricFamily(
            "audio_admission_closed", "Whether this keeps work out: 1 or 0.", labels=["reason"]
        )
        for reason in REASONS:
            closed.add_metric([reason], reason in reasons)
        yield closed
        yield GaugeMetricFamily("audio_queue_limit", "Jobs that may wait.", self._max_queued)
