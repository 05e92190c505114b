"""When will it be done? What a job would take, and when those that wait will end."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from api.jobs.capacity import USUAL_RATE, predict_room
from api.jobs.model import Job, JobStatus
from api.jobs.speed import Speed, predict
from api.jobs.speed_store import SpeedStore
from api.jobs.store import JobFilter, JobStore, every_job
from api.jobs.workers import WorkerRegister
from pipeline.codec.probe import Probe
from pipeline.config import PipelineConfig
from pipeline.errors import PipelineError

_FRESH_S: Final = 1.0
"""How long a view of the queue is good for: however often jobs are asked for, it costs the same."""


_LINE: Final = 500
"""Jobs that wait of which it is predicted when they end."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a job would take.

    Attributes:
        seconds: of work, once it runs.
        wait_s: until it would run, with the jobs that are before it.
        result_bytes: of what it would publish.
        measured: whether the speed was seen on this service, or is a first guess.
    """

    seconds: float
    wait_s: float
    result_bytes: int
    measured: bool


@dataclass(frozen=True, slots=True)
class _View:
    """The queue at one moment.

    Attributes:
        at: monotonic seconds.
        ends: seconds until each job that waits will have ended, by its id; None: nobody works.
        wait_s: seconds until a further job would begin.
    """

    at: float
    ends: dict[str, float | None]
    wait_s: float


class Outlook:
    """Predicts from the speed of jobs that have ended, and from those that run or wait.

    Args:
        store: the jobs.
        speeds: of those that have ended.
        register: of the workers.
        defaults: of jobs that do not say otherwise.
        workers: that there should be, where none has said that it is there.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        store: JobStore,
        speeds: SpeedStore,
        register: WorkerRegister,
        defaults: PipelineConfig,
        workers: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._speeds, self._register = store, speeds, register
        self._defaults, self._workers, self._clock = defaults, workers, clock
        self._lock = threading.Lock()
        self._view: _View | None = None

    def eta_s(self, job: Job) -> float | None:
        """Seconds until a job will have ended; None where that is not known, or it has.

        Args:
            job: in any status.
        """
        if job.status is not JobStatus.QUEUED:
            return job.eta_s
        with self._lock:
            view, now = self._view, self._clock()
            old = view is None or not 0.0 <= now - view.at < _FRESH_S
            # A job that came since is not in it.
            if view is None or old or (job.id not in view.ends and len(view.ends) < _LINE):
                view = self._view = self._look(self._speeds.newest())
            return view.ends.get(job.id)

    def cost(self, duration_s: float, config: PipelineConfig) -> Cost:
        """Predict what a job would take that is submitted now.

        Args:
            duration_s: of the recording.
            config: what is to be done.
        """
        seen = self._speeds.newest()
        expected = predict(duration_s, config.model_dump(), seen, self._defaults)
        loaded = [worker.model for worker in self._register.alive()]
        # Where no worker has said what it has loaded, nothing is known of it.
        load_s = expected.load_s if loaded and config.model not in loaded else 0.0
        # 44.1 kHz stereo at CD quality: for what a header would say, were there one.
        probe = Probe("", "", USUAL_RATE, 2, ("FL", "FR"), duration_s)
        room = predict_room(int(duration_s * USUAL_RATE * 4), probe, config)
        return Cost(
            seconds=round(expected.seconds + load_s, 1),
            wait_s=round(self._look(seen).wait_s, 1),
            result_bytes=room.result,
            measured=expected.measured,
        )

    def _look(self, seen: Sequence[Speed]) -> _View:
        now = datetime.now(UTC)
        running = every_job(self._store, JobFilter(statuses=(JobStatus.RUNNING,)))
        free = [self._left_s(job, seen) for job in running]
        works = len(self._register.alive()) or self._workers
        free += [0.0] * (max(works, 1) - len(free))
        heapq.heapify(free)
        ends: dict[str, float | None] = {}
        for job in self._store.line(_LINE):
            rests_s = (job.retry_at - now).total_seconds() if job.retry_at else 0.0
            end = max(heapq.heappop(free), rests_s) + self._seconds(job, seen)
            heapq.heappush(free, end)
            ends[job.id] = round(end, 1) if works else None
        return _View(self._clock(), ends, free[0])

    def _left_s(self, job: Job, seen: Sequence[Speed]) -> float:
        if job.eta_s is not None:
            return job.eta_s
        return self._seconds(job, seen) * (1.0 - job.progress)

    def _seconds(self, job: Job, seen: Sequence[Speed]) -> float:
        try:
            return predict(job.duration_s or 0.0, job.options, seen, self._defaults).seconds
        except PipelineError:  # It will fail for that, at once.
            return 0.0
