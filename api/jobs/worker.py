"""A worker: claims jobs and runs them, one after another, whatever happens to it."""

from __future__ import annotations

import fcntl
import logging
import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from time import monotonic

from api.jobs import result_cache
from api.jobs.folders import Folders
from api.jobs.heartbeat import EXIT_GPU_FAILED, Heartbeat, Stop, WorkerConfig
from api.jobs.helping import Helper, shared_out
from api.jobs.intake import job_config
from api.jobs.model import Job, JobError, JobStatus
from api.jobs.publication import (
    AttemptFolder,
    abandoned_jobs,
    is_published,
    publish_left,
    remove_abandoned,
)
from api.jobs.separations import clear, keep, prune
from api.jobs.speed import predict, speed_of
from api.jobs.speed_store import SpeedStore
from api.jobs.store import Claim, JobStore
from api.jobs.stretches import StretchStore
from pipeline.config import PipelineConfig
from pipeline.errors import Cancelled, DiskFull, PipelineError
from pipeline.manifest import Manifest
from pipeline.parallel import usable_cores
from pipeline.progress import Progress
from pipeline.run import run
from pipeline.separators.registry import WarmModel
from pipeline.weights.registry import get_model_spec

log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    AGAIN = "again"  # failed, but may succeed later
    CANCELLED = "cancelled"
    HANDED_BACK = "handed_back"
    LOST = "lost"  # the claim was another's by then: nothing was written


def work(
    store: JobStore,
    folders: Folders,
    config: WorkerConfig,
    stop: threading.Event,
    may_begin: Callable[[], bool] = lambda: True,
    ended: Callable[[Job], None] = lambda _: None,
    busy: Callable[[str | None], None] = lambda _: None,
    warm: WarmModel | None = None,
    pulse: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = monotonic,
    speeds: SpeedStore | None = None,
    rest: Callable[[float], object] | None = None,
    stretches: StretchStore | None = None,
) -> None:
    """Run jobs until told to stop.

    Args:
        store: where jobs are claimed.
        folders: where things lie.
        config: how to work.
        stop: set it to end: the job at hand may go on for ``config.grace_s``, then it is handed back.
        may_begin: asked before every claim, such as `api.jobs.capacity.memory_allows`.
        ended: told of every job that this worker brought to its end, for the audit log.
        busy: told the id of each job that is begun, and None when it is over, for the register of workers.
        warm: keeps the model loaded from job to job.
        pulse: called again and again, also while a job runs: see `api.jobs.pulse`.
        clock: monotonic seconds.
        speeds: told how fast jobs went, and asked how fast the next will go.
        rest: waits for so many seconds at most when there was nothing to do; None: until told to stop.
        stretches: where the separations of long recordings are divided; None: they are not.

    Raises:
        SystemExit: a GPU has failed; the job at hand was brought to its end.
    """
    warm = warm or WarmModel()
    rest = rest or stop.wait
    tidied = False
    idle_since = clock()
    helper = None
    if stretches is not None:
        helper = Helper(store, stretches, folders, config, stop, warm, pulse)
    while not stop.is_set():
        pulse()
        try:
            folders.check()
            if not tidied:
                tidy(store, folders)
                tidied = True
            claim = store.claim(config.name, config.lease_s) if may_begin() else None
            if claim is None:
                if helper is not None and may_begin() and (job := helper.job()) is not None:
                    busy(job.id)
                    try:
                        helper.help(job)
                    finally:
                        busy(None)
                        idle_since = clock()
                    continue
                if warm.name and 0.0 < config.model_ttl_s <= clock() - idle_since:
                    log.info(
                        "the model is idle and goes", extra={"action": "model_dropped", "model": warm.name}
                    )
                    warm.drop()
                rest(config.poll_s)
                continue
            busy(claim.job.id)
            try:
                outcome = attempt(store, folders, config, stop, claim, warm, pulse, speeds, stretches)
            finally:
                busy(None)
                idle_since = clock()
            job = store.get(claim.job.id)
            if outcome is not Outcome.LOST and job is not None and job.status.final:
                ended(job)
            if warm.gpu_failed:
                log.critical("the GPU has failed: ending the process", extra={"action": "gpu_failed"})
                raise SystemExit(EXIT_GPU_FAILED)
        except Exception:
            # The store or a disk is out of reach. A job at hand comes back when its lease runs out.
            log.exception("the worker goes on after an error", extra={"action": "worker_error"})
            stop.wait(config.retry_pause_s)


def warm_up(warm: WarmModel, config: PipelineConfig) -> None:
    """Load the model of most jobs before the first one comes: it then begins to separate seconds earlier."""
    try:
        warm.prepare(get_model_spec(config.model), config)
    except PipelineError as exc:
        # The job that needs it will say so to its owner.
        log.warning("the model is not ready: %s", exc.message, extra={"action": "warm_up_failed"})


def attempt(
    store: JobStore,
    folders: Folders,
    config: WorkerConfig,
    stop: threading.Event,
    claim: Claim,
    warm: WarmModel | None = None,
    pulse: Callable[[], None] = lambda: None,
    speeds: SpeedStore | None = None,
    stretches: StretchStore | None = None,
) -> Outcome:
    """Run a job that was claimed, and tell the store how it ended.

    Args:
        store: where it was claimed.
        folders: where things lie.
        config: how to work.
        stop: set when the worker has to stop.
        claim: the right to run it.
        warm: keeps the model loaded from job to job.
        pulse: called again and again while it runs.
        speeds: told how fast it went, and asked before.
        stretches: where its separation is divided.

    Raises:
        PipelineError: the store could not be told; then the lease runs out and the job is claimed again.
    """
    start = monotonic()
    said = {"job_id": claim.job.id, "attempt": claim.job.attempt, "worker": config.name}
    log.info("attempt begins", extra={"action": "attempt_begun", **said})
    expected_s = _expected_s(speeds, config.pipeline, claim.job)
    with Heartbeat(store, claim, config, stop, pulse=pulse, expected_s=expected_s) as heartbeat:
        made = _make(folders, config, claim, heartbeat, warm, stretches)
        if isinstance(made, JobError):
            heartbeat.check()  # However fast it failed, the store is told in which stage.
    outcome = _tell(store, claim, heartbeat, made)
    if speeds is not None and isinstance(made, Manifest) and outcome is Outcome.SUCCEEDED:
        _learn(speeds, job_config(config.pipeline, claim.job.options), made, heartbeat.progress)
    settle(store, folders, claim.job.id)
    prune(folders, config.separation_cache_bytes)
    result_cache.prune(folders, config.result_cache_bytes)
    said |= {"outcome": outcome.value, "seconds": round(monotonic() - start, 3)}
    log.info("attempt ended", extra={"action": "attempt_ended", **said})
    return outcome


def _make(
    folders: Folders,
    config: WorkerConfig,
    claim: Claim,
    heartbeat: Heartbeat,
    warm: WarmModel | None,
    stretches: StretchStore | None,
) -> Manifest | JobError | bool:
    """Make the job's result and publish it, as long as the claim holds.

    Returns:
        The manifest; True where an earlier attempt had made the result; or why there is none. False: the
        heartbeat knows why.
    """
    job = claim.job
    try:
        # An attempt before this one may have died between making, publishing and saying so.
        if is_published(folders, job.id) or (heartbeat.check() and publish_left(folders, job.id)):
            return True
        remove_abandoned(folders, job.id)
        with (
            AttemptFolder(folders, job.id, claim.fence) as folder,
            folders.fetched_input(job).in_the_clear(folder.path) as recording,
        ):
            manifest = run(
                recording,
                folder.path,
                job_config(config.pipeline, job.options),
                job_id=job.id,
                filename=job.filename,
                sha256=job.input_sha256,
                created_at=job.created_at,
                progress=heartbeat.progress,
                cancel=heartbeat.cancel,
                checkpoint=folders.checkpoint(job.id),
                kept=folders.separations_of(job.owner),
                others=shared_out(stretches, folders, config, claim, folder.path, heartbeat.cancel),
                warm=warm,
            )
            if not heartbeat.check():
                return False
            folder.publish()
            return manifest
    except Cancelled:
        return False
    except PipelineError as exc:
        if isinstance(exc, DiskFull):
            clear(folders, folders.outputs)  # The next attempt may have the space.
        return JobError(exc.code, exc.message, exc.hint, exc.retryable)
    except Exception as exc:
        log.exception("attempt failed", extra={"action": "attempt_crashed", "job_id": job.id})
        said = f"Something unexpected went wrong ({type(exc).__name__})."
        return JobError("internal_error", said, "The service's log says more.")


def _expected_s(speeds: SpeedStore | None, defaults: PipelineConfig, job: Job) -> Mapping[str, float] | None:
    """Seconds that each stage of a job should take, where jobs like it have shown that."""
    if speeds is None or job.duration_s is None:
        return None
    try:
        expected = predict(job.duration_s, job.options, speeds.newest(), defaults)
    except PipelineError as exc:  # Of the database, or of options that the job will fail for.
        log.info("the job's time is not predicted: %s", exc.message, extra={"action": "not_predicted"})
        return None
    return expected.stages if expected.measured else None


def _learn(speeds: SpeedStore, config: PipelineConfig, made: Manifest, progress: Progress) -> None:
    if made.separation.stretches > 1:
        return  # How fast others were is nobody's speed.
    shown = speed_of(made, progress.speeds(), config, config.threads or usable_cores())
    try:
        if shown is not None:
            speeds.add(shown)
    except PipelineError as exc:
        log.warning("a job's speed is not kept: %s", exc.message, extra={"action": "speed_not_kept"})


def _tell(store: JobStore, claim: Claim, heartbeat: Heartbeat, made: Manifest | JobError | bool) -> Outcome:
    match heartbeat.stopped, made:
        case Stop.LOST, _:
            return Outcome.LOST
        case Stop.CANCELLED, _:
            told, outcome = store.cancelled(claim), Outcome.CANCELLED
        case _, JobError() as error:
            told = store.fail(claim, error, again=error.retryable)
            outcome = Outcome.AGAIN if error.retryable else Outcome.FAILED
        case _, Manifest() | True:
            told, outcome = store.succeed(claim), Outcome.SUCCEEDED
        case Stop.TIMED_OUT, _:
            exc = heartbeat.timed_out()
            told = store.fail(claim, JobError(exc.code, exc.message, exc.hint))
            outcome = Outcome.FAILED
        case _:
            told, outcome = store.release(claim), Outcome.HANDED_BACK
    return outcome if told else Outcome.LOST


def settle(store: JobStore, folders: Folders, job_id: str) -> None:
    """Remove what an ended job does not need any more: work folders, its checkpoint, a result that is none.

    Of a job that succeeded the separation is kept. A job that is still to run keeps its checkpoint, and what
    a dead attempt has finished.
    """
    job = store.get(job_id)
    if job is not None and not job.status.final:
        return
    remove_abandoned(folders, job_id)
    result_cache.drop_input(folders, job_id)
    if job is not None and job.status is JobStatus.SUCCEEDED:
        keep(folders, job)
    for checkpoint in folders.checkpoints_of(job_id):
        checkpoint.unlink(missing_ok=True)
    if folders.shared is not None:
        folders.shared.forget_stretches(job_id)
    if job is not None and job.status in {JobStatus.FAILED, JobStatus.CANCELLED}:
        shutil.rmtree(folders.result(job_id), ignore_errors=True)
        if folders.shared is not None:
            folders.shared.forget_result(job_id)


def tidy(store: JobStore, folders: Folders) -> None:
    """Clear up after workers that died."""
    for job_id in abandoned_jobs(folders):
        settle(store, folders, job_id)
    for checkpoint in folders.checkpoints.glob("*.checkpoint"):
        settle(store, folders, checkpoint.name.partition(".")[0])
    for temporary in folders.checkpoints.glob("*.tmp"):
        with suppress(FileNotFoundError), temporary.open("rb") as file, suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # A living process copies into a locked one.
            temporary.unlink()
