"""How workers share the separation of a long recording: see `pipeline.stretches` and decision 27."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from api.jobs import result_cache
from api.jobs.folders import Folders
from api.jobs.heartbeat import Heartbeat, WorkerConfig
from api.jobs.intake import job_config
from api.jobs.model import Job, JobError
from api.jobs.shared import Shared
from api.jobs.store import Beat, Claim, JobStore
from api.jobs.stretches import StretchStore
from pipeline.errors import Cancelled, PipelineError
from pipeline.locked_folder import LockedFolder
from pipeline.progress import CancelToken
from pipeline.run import run
from pipeline.scratch import disk_errors
from pipeline.separators.registry import WarmModel
from pipeline.stretches import Helped, Helping, Joined, State

log = logging.getLogger(__name__)

_REMEMBERED: Final = 1000


class SharedDivision:
    """Implements `pipeline.stretches.Division` by the database and the storage.

    Args:
        stretches: who makes what.
        shared: where they are handed in.
        claim: of the job.
        worker: who asks.
        lease_s: how long a stretch is a helper's without a heartbeat.
        goes_on: whether a helper should take another stretch.
    """

    def __init__(
        self,
        stretches: StretchStore,
        shared: Shared,
        claim: Claim,
        worker: str,
        lease_s: float,
        goes_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self._stretches, self._shared, self._claim = stretches, shared, claim
        self._job_id, self._worker, self._lease_s, self._goes_on = claim.job.id, worker, lease_s, goes_on

    def offer(self, identity: str, begins: list[int]) -> None:
        """Let others make stretches."""
        self._stretches.offer(self._job_id, self._claim.fence, identity, begins)

    def take(self, identity: str, begin: int) -> State:
        """Take a stretch for the job's own worker, unless somebody makes it or has."""
        return self._stretches.take(self._job_id, identity, begin)

    def take_after(self, identity: str, begin: int) -> int | None:
        """Take the first free stretch behind another, likewise."""
        return self._stretches.take_after(self._job_id, identity, begin)

    def fetch(self, identity: str, begin: int, target: Path) -> bool:
        """Bring a stretch here that another worker has made. False when it is gone."""
        return self._shared.fetch_stretch(self._job_id, identity, begin, target)

    def offered(self, identity: str) -> bool:
        """Whether stretches of this identity were offered."""
        return self._stretches.offered(self._job_id, identity)

    def claim(self, identity: str) -> int | None:
        """Take the first free stretch of another's job, unless there is something better to do."""
        if not self._goes_on():
            return None
        return self._stretches.claim(self._job_id, identity, self._worker, self._lease_s)

    def keep(self, identity: str, begin: int, path: Path) -> None:
        """Hand in a stretch that was claimed."""
        self._shared.keep_stretch(self._job_id, identity, begin, path)
        self._stretches.finish(self._job_id, identity, begin, self._worker)


def shared_out(
    stretches: StretchStore | None,
    folders: Folders,
    config: WorkerConfig,
    claim: Claim,
    folder: Path,
    cancel: CancelToken,
) -> Joined | None:
    """What lets others help with a job; None where nobody can."""
    if stretches is None or folders.shared is None:
        return None
    division = SharedDivision(stretches, folders.shared, claim, config.name, config.lease_s)
    return Joined(division, config.split_s, folder, cancel)


class Helper:
    """Helps with the jobs of other workers, when there is none to run.

    Args:
        store: the jobs.
        stretches: of their separations.
        folders: where things lie; there is a storage.
        config: how to work.
        stop: set when the worker has to stop.
        warm: keeps the model loaded.
        pulse: called again and again.
    """

    def __init__(
        self,
        store: JobStore,
        stretches: StretchStore,
        folders: Folders,
        config: WorkerConfig,
        stop: threading.Event,
        warm: WarmModel,
        pulse: Callable[[], None],
    ) -> None:
        self._store, self._stretches, self._folders = store, stretches, folders
        # What is not handed in costs a stretch at most: whoever has to stop does so at once.
        self._config = replace(config, grace_s=0.0)
        self._stop, self._warm, self._pulse = stop, warm, pulse
        self._left_alone: deque[str] = deque(maxlen=_REMEMBERED)

    def job(self) -> Job | None:
        """A job that wants help, and may have it from here."""
        for job_id in self._stretches.wanting():
            if job_id not in self._left_alone:
                return self._store.get(job_id)
        return None

    def help(self, job: Job) -> None:
        """Make stretches until none is left, there is a job to run, or the worker has to stop.

        Whatever goes wrong here is logged: the job's own worker makes what is missing.
        """
        config, said = self._config, {"job_id": job.id, "worker": self._config.name}
        claim = Claim(job, config.name, job.fence)
        log.info("helping begins", extra={"action": "helping_begun", **said})
        made = 0
        try:
            with (
                Heartbeat(_Beats(self._stretches), claim, config, self._stop, pulse=self._pulse) as heartbeat,
                disk_errors("the output folder"),
                LockedFolder(self._folders.attempts / f"{job.id}.helper-{os.getpid()}") as folder,
            ):
                helping = self._helping(claim, folder.path)
                try:
                    self._run(job, folder.path, helping, heartbeat)
                finally:
                    made = helping.made
        except (Cancelled, Helped):
            pass
        except PipelineError as exc:
            self._left_alone.append(job.id)
            log.warning("helping failed: %s", exc.message, extra={"action": "helping_failed", **said})
        finally:
            with suppress(PipelineError):
                self._stretches.release(config.name)
            result_cache.drop_input(self._folders, job.id)
        log.info("helping ended", extra={"action": "helping_ended", "stretches": made, **said})

    def _helping(self, claim: Claim, folder: Path) -> Helping:
        assert self._folders.shared is not None
        division = SharedDivision(
            self._stretches,
            self._folders.shared,
            claim,
            self._config.name,
            self._config.lease_s,
            lambda: not self._stop.is_set() and self._store.oldest_queued() is None,
        )
        return Helping(division, self._config.split_s, folder)

    def _run(self, job: Job, folder: Path, helping: Helping, heartbeat: Heartbeat) -> None:
        try:
            with self._folders.fetched_input(job).in_the_clear(folder) as recording:
                run(
                    recording,
                    folder,
                    job_config(self._config.pipeline, job.options),
                    job_id=job.id,
                    filename=job.filename,
                    sha256=job.input_sha256,
                    progress=heartbeat.progress,
                    cancel=heartbeat.cancel,
                    checkpoint=folder / "none.checkpoint",
                    others=helping,
                    warm=self._warm,
                )
        except Helped:
            if not helping.fits:
                self._left_alone.append(job.id)
                said = {"action": "helping_unfit", "job_id": job.id}
                log.info("this machine would compute other bits than the job's worker", extra=said)


class _Beats:
    """Implements `api.jobs.store.Listener` for stretches: a helper says nothing of the job itself."""

    def __init__(self, stretches: StretchStore) -> None:
        self._stretches = stretches

    def beat(self, claim: Claim, lease_s: float, **_: Any) -> Beat:
        """Renew the lease."""
        return Beat(held=self._stretches.beat(claim.job.id, claim.worker, lease_s), cancel=False)

    def slow(self, claim: Claim, stage: str) -> bool:
        """Nothing."""
        del claim, stage
        return True

    def fail(self, claim: Claim, error: JobError, *, again: bool = False) -> bool:
        """Nothing: the job is another worker's."""
        del claim, error, again
        return True
