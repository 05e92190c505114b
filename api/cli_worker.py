"""The command that runs jobs: one process beside a service, or all those of a machine by Celery."""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli_services import service_settings, told
from api.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from api.audit import Audit
    from api.jobs.folders import Folders
    from api.jobs.heartbeat import WorkerConfig
    from api.jobs.model import Job
    from api.jobs.stretches import StretchStore

_LOCAL_POLL_S, _CELERY_POLL_S = 0.25, 5.0


def worker(
    parent: Annotated[int | None, typer.Option(help="Process id to die with.", hidden=True)] = None,
    pulse: Annotated[int | None, typer.Option(help="Open file to beat on.", hidden=True)] = None,
    bell: Annotated[int | None, typer.Option(help="Open file that rings.", hidden=True)] = None,
) -> None:
    """Run jobs, one after another. With JOB_QUEUE=celery: as many at once as PIPELINE_WORKERS, by Celery."""
    from api.jobs.supervisor import WORKER_NICENESS, die_with_parent

    if parent is not None:
        die_with_parent(parent)
        # What the API answers in milliseconds goes before what takes minutes.
        os.nice(WORKER_NICENESS)
    with told():
        # Besides standard error, which is the supervisor's, a file of its own: processes must not share one.
        settings = service_settings(f"worker-{socket.gethostname()}-{os.getpid()}")
        if parent is None and settings.job_queue == "celery":
            _serve_messages(settings)
        else:
            _run_jobs(settings, beside=parent is not None, pulse=pulse, bell=bell)


def _serve_messages(settings: Settings) -> None:
    from api.foundation import prepare, supervisor_of
    from api.queue.celery_app import kinds_of, make_celery
    from api.queue.celery_worker import serve_messages

    celery = make_celery(settings)
    engine, _ = prepare(settings)  # Its processes find it made.
    engine.dispose()
    serve_messages(celery, supervisor_of(settings, bells=True), kinds_of(settings))


def _recording(audit: Audit, folders: Folders, *, traced: bool) -> Callable[[Job], None]:
    """What writes the end of a job into the audit log, and sends its spans where they are wanted."""
    from api.jobs.results import manifest_sum
    from api.tracing import record_job

    def record(job: Job) -> None:
        said = job.error.code if job.error else manifest_sum(folders, job.id)
        audit.record(
            "job.end",
            user=job.owner,
            output=said,
            status=job.status.value,
            job_id=job.id,
        )
        if traced:
            record_job(job)

    return record


def _config(settings: Settings, usual_poll_s: float) -> WorkerConfig:
    """How the worker of this process works."""
    from api.jobs.capacity import threads_a_worker
    from api.jobs.heartbeat import WorkerConfig
    from api.settings import MIB, pipeline_defaults
    from pipeline.parallel import usable_cores

    # Workers with more threads than cores wait for one another at every layer.
    threads = settings.threads or threads_a_worker(usable_cores(), settings.workers)
    return WorkerConfig(
        name=f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}",
        pipeline=pipeline_defaults(settings).model_copy(update={"threads": threads}),
        lease_s=settings.lease_s,
        beat_s=settings.beat_s,
        grace_s=settings.grace_s,
        poll_s=settings.poll_s or usual_poll_s,
        model_ttl_s=settings.model_ttl_s,
        stage_warn_s=settings.stage_warn_s,
        job_timeout_s=settings.job_timeout_s,
        job_timeout_factor=settings.job_timeout_factor,
        separation_cache_bytes=settings.separation_cache_mb * MIB,
        result_cache_bytes=settings.storage_cache_mb * MIB,
        split_s=60.0 * settings.split_minutes,
    )


def _set_by_signals() -> threading.Event:
    """What is set when this process is told to stop."""
    stop = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    return stop


def _stretches(engine: Engine, folders: Folders, config: WorkerConfig) -> StretchStore | None:
    """Where separations are divided; None: they are not. What is encrypted is never shared in the clear."""
    from api.jobs.stretches import StretchStore

    divided = config.split_s and folders.shared is not None and folders.keys is None
    return StretchStore(engine) if divided else None


def _run_jobs(settings: Settings, *, beside: bool, pulse: int | None, bell: int | None) -> None:
    from api.audit import Audit
    from api.database import open_database
    from api.foundation import prepare
    from api.jobs.bell import rest
    from api.jobs.capacity import memory_allows, own_memory, speech_here
    from api.jobs.heartbeat import EXIT_RECYCLED
    from api.jobs.pulse import beating, resting, working
    from api.jobs.separations import make_room
    from api.jobs.speed_store import SpeedStore
    from api.jobs.sql_store import SqlJobStore
    from api.jobs.worker import warm_up, work
    from api.jobs.workers import Presence, WorkerRegister
    from api.security.secret import load_secret
    from api.settings import MIB
    from api.tracing import start_tracing
    from pipeline.separators.registry import WarmModel
    from pipeline.weights.registry import get_model_spec

    # A supervisor has made the database: were it gone by now, a new one would hide that.
    engine, folders = prepare(settings, create=not beside)
    stop = _set_by_signals()
    config = _config(settings, _LOCAL_POLL_S if bell is None else _CELERY_POLL_S)
    spec, reserve = get_model_spec(settings.model), settings.memory_reserve_mb * MIB
    speech = speech_here(config.pipeline.weights)  # Any job may ask for lyrics where something hears them.
    record = _recording(Audit(engine, load_secret(settings)), folders, traced=start_tracing(os.environ))
    say_resting, say_working = resting(pulse), working(pulse)
    most_memory = settings.worker_memory_mb * MIB
    recycled = threading.Event()

    def may_begin() -> bool:
        # On a full disk jobs wait rather than fail.
        roomy = make_room(folders, folders.outputs, settings.disk_reserve_mb * MIB)
        return roomy and memory_allows(spec, reserve, speech)

    def pause(most_s: float) -> None:
        say_resting()
        if bell is None:
            stop.wait(most_s)
        else:
            # A crowd that was told nothing must not ask the store all at once.
            rest(bell, stop, most_s * random.uniform(0.75, 1.25))  # noqa: S311

    # A database of its own: the worker's writes wait for nothing that the register does.
    register = WorkerRegister(open_database(settings.database_url.get_secret_value(), create=False))
    warm = WarmModel()
    with Presence(register, config.name, settings.device, lambda: warm.name) as presence:

        def note(job_id: str | None) -> None:
            presence.note(job_id)
            if job_id is not None:
                say_working()
            elif beside and 0 < most_memory < own_memory():
                recycled.set()
                stop.set()

        if memory_allows(spec, reserve):
            warm_up(warm, config.pipeline)
        store, beat, speeds = SqlJobStore(engine), beating(pulse), SpeedStore(engine)
        work(store, folders, config, stop, may_begin, record, note, warm, beat, speeds=speeds, rest=pause,
             stretches=_stretches(engine, folders, config))  # fmt: skip
    if recycled.is_set():
        sys.exit(EXIT_RECYCLED)
