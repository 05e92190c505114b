"""What may come in: room on the disks, memory, and whether the service can take work at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from api.errors import Draining, StorageFull, StorageUnavailable
from api.jobs.capacity import USUAL_RATE, Room, available_memory, predict_room
from api.jobs.folders import Folders
from api.jobs.intake import job_config
from api.jobs.model import Job, JobStatus
from api.jobs.separations import make_room
from api.jobs.store import JobFilter, JobStore, every_job
from pipeline.codec.probe import Probe
from pipeline.config import PipelineConfig
from pipeline.errors import PipelineError

_STATE_S: Final = 1.0
"""How long an answer about the state is good for: probes of any frequency cost the same."""

REASONS: Final = ("draining", "no_worker", "disk_reserve", "memory_reserve", "storage", "database")
"""Why a service cannot take work, as stable words."""


@dataclass(frozen=True, slots=True)
class State:
    """Whether the service can take work.

    Attributes:
        workers: that are alive.
        database: whether it can be read and written.
        reasons: why it cannot take work, of `REASONS`. Empty: it can.
    """

    workers: int
    database: bool
    reasons: tuple[str, ...]


class Workers(Protocol):
    """What admission asks the supervisor."""

    @property
    def alive(self) -> int:
        """How many workers run."""
        ...

    @property
    def count(self) -> int:
        """How many there should be."""
        ...

    @property
    def draining(self) -> bool:
        """Whether they were told to stop."""
        ...


class Admission:
    """Decides what may come in.

    Args:
        store: the jobs.
        folders: where things lie.
        workers: who does the work.
        defaults: of the service, on which a job's options are laid.
        disk_reserve: bytes that stay free on each disk.
        memory_reserve: bytes of memory that stay free.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        store: JobStore,
        folders: Folders,
        workers: Workers,
        defaults: PipelineConfig,
        *,
        disk_reserve: int,
        memory_reserve: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._folders, self._workers, self._defaults = store, folders, workers, defaults
        self._disk_reserve, self._memory_reserve = disk_reserve, memory_reserve
        self._clock = clock
        self._lock = threading.Lock()
        self._state: tuple[float, State] | None = None

    def state(self) -> State:
        """Whether the service can take work; at most a second old."""
        with self._lock:
            now = self._clock()
            if self._state is None or not 0.0 <= now - self._state[0] < _STATE_S:
                self._state = (now, self._look())
            return self._state[1]

    def admit(self, size: int = 0) -> None:
        """Let an upload in, before its body is read.

        Args:
            size: bytes that it states; 0 when it states none.

        Raises:
            Draining: the service is stopping.
            StorageUnavailable: a folder is missing, or may not be written.
            StorageFull: there is no room for the body.
        """
        if self._workers.draining:
            raise Draining("The service is stopping.", "Try again in a minute.", retry_after_s=60)
        self._folders.check()
        self._check_room({self._folders.uploads: size})

    def admit_upload(self, size: int, probe: Probe, config: PipelineConfig) -> None:
        """Let an upload that is on disk become a job.

        Room is kept for the results of all jobs that were accepted, and for the work of as many as run at a
        time.

        Args:
            size: bytes of the upload.
            probe: what its header claims.
            config: what is to be done.

        Raises:
            StorageFull: there is no room for what will come of it.
        """
        rooms = [*self._promised(), predict_room(size, probe, config)]
        at_once = max(self._workers.count, 1)
        work = sum(sorted((room.work for room in rooms), reverse=True)[:at_once])
        checkpoints = sum(sorted((room.checkpoint for room in rooms), reverse=True)[:at_once])
        results = sum(room.result for room in rooms)
        self._check_room({self._folders.outputs: work + results, self._folders.data: checkpoints})

    def _promised(self) -> Iterable[Room]:
        unfinished = JobFilter(statuses=(JobStatus.QUEUED, JobStatus.RUNNING))
        for job in every_job(self._store, unfinished):
            yield self._room_of(job)

    def _room_of(self, job: Job) -> Room:
        try:
            config = job_config(self._defaults, job.options)
        except PipelineError:  # It will fail for that: it needs no room.
            return Room(0, 0, 0)
        # What the header said of rate and channels is not kept; most recordings are like this.
        probe = Probe("", "", USUAL_RATE, 2, ("FL", "FR"), job.duration_s)
        return predict_room(job.input_bytes, probe, config)

    def _check_room(self, needs: dict[Path, int]) -> None:
        disks: dict[int, int] = {}
        for folder, needed in needs.items():
            disk = folder.stat().st_dev
            disks[disk] = disks.get(disk, 0) + needed
            if not make_room(self._folders, folder, disks[disk] + self._disk_reserve):
                raise StorageFull(
                    "There is not enough free space for this recording and its stems.",
                    "Try again when other jobs have ended, or ask for fewer stems or smaller formats.",
                    retry_after_s=300,
                )

    def _look(self) -> State:
        database = True
        try:
            self._store.check()
        except (PipelineError, OSError):
            database = False
        reasons = []
        if self._workers.draining:
            reasons.append("draining")
        # Without workers of its own, a service takes work for those on other machines.
        if self._workers.count and not self._workers.alive:
            reasons.append("no_worker")
        try:
            self._folders.check()
            if not all(self._is_roomy(folder) for folder in (self._folders.uploads, self._folders.outputs)):
                reasons.append("disk_reserve")
        except StorageUnavailable:
            reasons.append("storage")
        if available_memory() < self._memory_reserve:
            reasons.append("memory_reserve")
        if not database:
            reasons.append("database")
        return State(self._workers.alive, database, tuple(reasons))

    def _is_roomy(self, folder: Path) -> bool:
        with suppress(OSError):
            return make_room(self._folders, folder, self._disk_reserve)
        return False
