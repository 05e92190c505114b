"""Prometheus metrics, fed by what the store tells: the same figures whoever did the work."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from api.jobs.model import JobEvent, JobStatus
from api.jobs.store import JobStore

_ENDED = {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED}
_JOB_BUCKETS = (1, 2, 5, 10, 20, 30, 60, 120, 180, 300, 600, 1200, 1800, 3600, 7200)
_STAGE_BUCKETS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_HTTP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_FACTOR_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32)
_FOLLOW_S = 1.0


class Metrics:
    """One registry per app.

    Args:
        store: the jobs.
        disk: folder whose disk is watched.
    """

    def __init__(self, store: JobStore, disk: Path) -> None:
        self.registry = CollectorRegistry()
        self._store = store
        self._disk = disk
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.processed = Counter("audio_processing", "Jobs that ended.", ["status"], registry=self.registry)
        self.failures = Counter(
            "audio_processing_failures", "Jobs that failed, by error code.", ["code"], registry=self.registry
        )
        self.seconds = Histogram(
            "audio_processing_seconds",
            "Seconds from the start of the last attempt to the end of the job.",
            buckets=_JOB_BUCKETS,
            registry=self.registry,
        )
        self.stage_seconds = Histogram(
            "audio_stage_seconds",
            "Seconds of a stage.",
            ["stage"],
            buckets=_STAGE_BUCKETS,
            registry=self.registry,
        )
        self.speed = Histogram(
            "audio_real_time_factor",
            "Seconds of audio per second of processing.",
            buckets=_FACTOR_BUCKETS,
            registry=self.registry,
        )
        self.upload_bytes = Counter(
            "audio_upload_bytes", "Bytes of accepted recordings.", registry=self.registry
        )
        self.http_seconds = Histogram(
            "http_request_seconds",
            "Seconds until the answer began.",
            ["method", "route", "status"],
            buckets=_HTTP_BUCKETS,
            registry=self.registry,
        )
        for status in _ENDED:
            self.processed.labels(status.value)  # Shown as 0 before the first, so that rates work.
        self.registry.register(self)

    def start(self) -> None:
        """Begin to follow the store's events, from the first: the totals survive a restart."""
        self._thread = threading.Thread(target=self._follow, name="metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self.http_seconds.labels(method, route, str(status)).observe(seconds)

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[Metric]:
        """Figures that are read when they are asked for."""
        counts = self._store.counts()
        yield GaugeMetricFamily("audio_queue_depth", "Jobs that wait.", counts.get(JobStatus.QUEUED, 0))
        yield GaugeMetricFamily("audio_jobs_in_progress", "Jobs that run.", counts.get(JobStatus.RUNNING, 0))
        oldest = self._store.oldest_queued()
        waited = 0.0 if oldest is None else max((datetime.now(UTC) - oldest).total_seconds(), 0.0)
        yield GaugeMetricFamily(
            "audio_queue_oldest_seconds", "Seconds that the first in the queue waits.", waited
        )
        usage = shutil.disk_usage(self._disk)
        yield GaugeMetricFamily("audio_disk_free_bytes", "Free bytes on the data disk.", usage.free)
        yield GaugeMetricFamily("audio_disk_size_bytes", "Size of the data disk in bytes.", usage.total)

    def _follow(self) -> None:
        after = 0
        while not self._stop.wait(_FOLLOW_S):
            while events := self._store.events(None, after, limit=500):
                after = events[-1].id
                for event in events:
                    self._count(event)

    def _count(self, event: JobEvent) -> None:
        if event.kind not in _ENDED:
            return
        job = self._store.get(event.job_id)
        self.processed.labels(event.kind).inc()
        if job is None:
            return
        if job.error is not None and event.kind == JobStatus.FAILED:
            self.failures.labels(job.error.code).inc()
        if job.started_at is not None and job.finished_at is not None and event.kind == JobStatus.SUCCEEDED:
            took = (job.finished_at - job.started_at).total_seconds()
            self.seconds.observe(took)
            if job.duration_s and took > 0:
                self.speed.observe(job.duration_s / took)
        for stage in job.stages:
            self.stage_seconds.labels(stage.name).observe(stage.seconds)
