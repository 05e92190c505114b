"""A thread that keeps a claim alive while its job runs, and stops the job when it must."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from types import TracebackType

from api.errors import JobTimedOut
from api.jobs import result_cache
from api.jobs.model import JobError, StageTime
from api.jobs.separations import DEFAULT_CACHE_BYTES
from api.jobs.store import Claim, Listener
from pipeline.config import PipelineConfig
from pipeline.errors import PipelineError
from pipeline.progress import CancelToken, Progress, ProgressEvent

log = logging.getLogger(__name__)

EXIT_HUNG = 70
"""Exit status of a worker whose job did not stop when it was told to: EX_SOFTWARE of sysexits.h."""

EXIT_STARVED = 71
"""Exit status of a worker that cannot have a thread: EX_OSERR."""

EXIT_RECYCLED = 75
"""Exit status of a worker that has grown too large and ends between two jobs: EX_TEMPFAIL."""
EXIT_GPU_FAILED = 72
"""Exit status of a worker whose GPU has failed: only a new process may use it again."""

FROZEN_S = 5.0
"""A thread that wakes so much too late was not kept waiting: its process was stopped (SIGSTOP, a paused
container), and the job did nothing meanwhile. That time counts for no limit."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """How a worker works.

    Attributes:
        name: of the worker; unique among all that share a store.
        pipeline: the service's defaults: model, device, limits, weights, threads.
        lease_s: how long a claim holds without a heartbeat.
        beat_s: from one heartbeat to the next; never more than a third of the lease.
        poll_s: from one look for work to the next.
        grace_s: how long a job may go on after the worker was told to stop; then it is handed back.
        stage_warn_s: a stage that takes longer is logged.
        job_timeout_s: that every attempt may take.
        job_timeout_factor: seconds more for each second of the recording.
        separation_cache_bytes: of separations that are kept at most, for later jobs.
        result_cache_bytes: of copies of results that lie in a storage too.
        split_s: seconds of a stretch, where separations are divided.
        retry_pause_s: rest before a store that failed is asked again.
        hang_s: a job that does not stop within this ends with its process.
        model_ttl_s: how long a model stays loaded that no job asks for; 0: for ever.
    """

    name: str
    pipeline: PipelineConfig = field(default_factory=PipelineConfig)
    lease_s: float = 30.0
    beat_s: float = 2.0
    poll_s: float = 0.25
    grace_s: float = 20.0
    stage_warn_s: float = 300.0
    job_timeout_s: float = 600.0
    job_timeout_factor: float = 10.0
    retry_pause_s: float = 5.0
    hang_s: float = 120.0
    model_ttl_s: float = 0.0
    split_s: float = 0.0
    separation_cache_bytes: int = DEFAULT_CACHE_BYTES
    result_cache_bytes: int = result_cache.DEFAULT_CACHE_BYTES


class Stop(Enum):
    """Why a job was stopped before its end."""

    LOST = auto()  # another worker has it, or may have: nothing is written any more
    CANCELLED = auto()  # its owner asked for it
    TIMED_OUT = auto()  # it took longer than it may
    HANDED_BACK = auto()  # the worker has to stop


class Heartbeat:
    """Beats for a claim from entering the context to leaving it.

    Args:
        store: where the claim was made.
        claim: what to keep.
        config: how often, and how long the job may take.
        stop: set when the worker has to stop.
        clock: monotonic seconds.
        pulse: called again and again while it beats: see `api.jobs.pulse`.
        expected_s: seconds that each stage should take; None where that is not known.
    """

    def __init__(
        self,
        store: Listener,
        claim: Claim,
        config: WorkerConfig,
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
        pulse: Callable[[], None] = lambda: None,
        expected_s: Mapping[str, float] | None = None,
    ) -> None:
        self.cancel = CancelToken()
        self.progress = Progress(self._listen, clock, expected_s)
        self.stopped: Stop | None = None
        """Why the job was told to stop; None while it was not."""
        self._store, self._claim, self._config, self._stop, self._clock = store, claim, config, stop, clock
        self._pulse = pulse
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._event: ProgressEvent | None = None
        self._begun: dict[str, float] = {}
        self._warned: set[str] = set()
        self._start = self._held_at = clock()
        self._stop_at: float | None = None
        self._ended_at = self._start
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def check(self) -> bool:
        """Ask the store whether the job is still ours to finish: not lost, and not cancelled.

        Where the store does not answer, it is asked again until the lease may have run out.
        """
        while not self._beat() and self.stopped is None:
            self._done.wait(min(self._config.beat_s, self._config.lease_s / 3))
        return self.stopped is None

    def stages(self) -> tuple[StageTime, ...]:
        """Times of the stages so far."""
        with self._lock:
            names, begun = list(self._begun), list(self._begun.values())
        ends = [*begun[1:], self._clock()]
        statuses = ["succeeded"] * (len(names) - 1) + ["running"]
        return tuple(
            StageTime(name, status, round(end - at, 3))
            for name, status, at, end in zip(names, statuses, begun, ends, strict=False)
        )

    def _listen(self, event: ProgressEvent) -> None:
        with self._lock:
            self._event = event
            self._begun.setdefault(event.stage, self._clock())

    def _run(self) -> None:
        config = self._config
        period = min(config.beat_s, config.lease_s / 3)
        pause = min(period, 0.25)
        due = asleep = self._clock()
        # Short waits, so that a stop is noticed at once; the store is asked only when a beat is due.
        while not self._done.wait(pause):
            self._pulse()
            now = self._clock()
            if now - asleep - pause > FROZEN_S:
                self._forgive(now - asleep - pause)
            if now >= due:
                due = now + period
                self._beat()
            self._check_times(now)
            asleep = self._clock()

    def _forgive(self, frozen_s: float) -> None:
        self._start += frozen_s
        self._ended_at += frozen_s
        with self._lock:
            for stage in list(self._begun)[-1:]:
                self._begun[stage] += frozen_s

    def _beat(self) -> bool:
        """Whether the store answered."""
        with self._lock:
            event = self._event
        try:
            beat = self._store.beat(
                self._claim,
                self._config.lease_s,
                progress=round(event.fraction, 4) if event else None,
                stage=event.stage if event else None,
                stages=self.stages(),
                eta_s=None if event is None or event.eta_s is None else round(event.eta_s, 1),
                duration_s=self.progress.duration_s,
            )
        except Exception:
            log.warning("no heartbeat", exc_info=True, extra={"action": "heartbeat_failed"})
            if self._clock() - self._held_at > self._config.lease_s:
                self._end(Stop.LOST)
            return False
        if not beat.held:
            self._end(Stop.LOST)
        else:
            self._held_at = self._clock()
            if beat.cancel:
                self._end(Stop.CANCELLED)
        return True

    def _check_times(self, now: float) -> None:
        if now - self._start > self.limit_s():
            self._end(Stop.TIMED_OUT)
        if self._stop.is_set():
            if self._stop_at is None:
                self._stop_at = now + self._config.grace_s
            if now >= self._stop_at:
                self._end(Stop.HANDED_BACK)
        for stage in self.stages()[-1:]:
            if stage.seconds > self._config.stage_warn_s and stage.name not in self._warned:
                self._warned.add(stage.name)
                said = {"action": "stage_slow", "job_id": self._claim.job.id, "stage": stage.name}
                log.warning("stage %s has taken %.0f s", stage.name, stage.seconds, extra=said)
                self._tell_slow(stage.name)
        if self.stopped and now - self._ended_at > self._config.hang_s:
            self._exit()

    def _tell_slow(self, stage: str) -> None:
        try:
            self._store.slow(self._claim, stage)
        except PipelineError as exc:
            said = {"action": "stage_slow_untold", "code": exc.code}
            log.warning("the store was not told of a slow stage: %s", exc.message, extra=said)

    def limit_s(self) -> float:
        """How many seconds this attempt may take."""
        duration_s = self.progress.duration_s or self._claim.job.duration_s or 0.0
        return self._config.job_timeout_s + self._config.job_timeout_factor * duration_s

    def timed_out(self) -> JobTimedOut:
        """The error of a job that took too long."""
        return JobTimedOut(
            f"The job took longer than {self.limit_s() / 60:.0f} minutes.",
            "Use a faster model or fewer shifts, or split the recording.",
        )

    def _end(self, why: Stop) -> None:
        if self.stopped is None or why is Stop.LOST:
            self.stopped = why
            self._ended_at = self._clock()
            self.cancel.cancel()

    def _exit(self) -> None:
        said = {"action": "worker_hung", "job_id": self._claim.job.id}
        log.critical("the job did not stop: ending the process", extra=said)
        if self.stopped is Stop.TIMED_OUT:
            exc = self.timed_out()
            self._store.fail(self._claim, JobError(exc.code, exc.message, exc.hint))
        os._exit(EXIT_HUNG)

    def __enter__(self) -> Heartbeat:
        try:
            self._thread.start()
        except RuntimeError as exc:
            # No memory for one more thread. A new process has more than this one, which would fail every job.
            said = {"action": "worker_starved", "job_id": self._claim.job.id}
            log.critical("no thread can be started: ending the process", extra=said)
            raise SystemExit(EXIT_STARVED) from exc
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
