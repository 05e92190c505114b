"""Workers die at any instant or stop for any time: no accepted job is lost, none is published twice."""

import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from api.jobs.folders import Folders
from api.jobs.model import Job, JobStatus
from api.jobs.sql_store import SqlJobStore
from api.jobs.worker import Outcome, attempt
from pipeline.manifest import read_manifest
from pipeline.verify import find_jobs, verify_job
from tests.audio_files import music, write_wav
from tests.worker_support import made, open_store, submit, temporary_files, worker_config

ROOT = Path(__file__).parents[2]

WORKER = """
import os, pathlib, signal, sys, threading
from api.jobs import worker
from pipeline.progress import Progress
from tests.worker_support import made, open_store, worker_config

data, name, instant, idle = sys.argv[1:]
folders = made(pathlib.Path(data))
store = open_store(folders)
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def before(owner, method):
    setattr(owner, method, die)

def after(owner, method):
    function = getattr(owner, method)
    setattr(owner, method, lambda *given, **named: (function(*given, **named), die()))

where, _, what = instant.partition(" ")
if where == "enter":
    enter = Progress.enter
    Progress.enter = lambda self, stage: die() if stage == what else enter(self, stage)
elif instant:
    owner, method = {
        "publish": (worker.AttemptFolder, "publish"),
        "succeed": (type(store), "succeed"),
        "settle": (worker, "settle"),
    }[what]
    (before if where == "before" else after)(owner, method)

claim = type(store).claim
def claimed(*given):
    found = claim(*given)
    if found is None and idle:
        stop.set()
    return found
type(store).claim = claimed

attempt = worker.attempt
def told(*given):
    outcome = attempt(*given)
    print(outcome.value, flush=True)
    return outcome
worker.attempt = told
print("ready", flush=True)
worker.work(store, folders, worker_config(name=name, lease_s=1.0), stop)
"""


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return made(tmp_path / "data")


@pytest.fixture
def store(folders: Folders) -> SqlJobStore:
    return open_store(folders)


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(folders: Folders) -> Iterator[Start]:
    begun: list[subprocess.Popen[str]] = []

    def begin(name: str, instant: str = "", *, idle: bool = False) -> subprocess.Popen[str]:
        """Start a worker.

        Args:
            name: of the worker.
            instant: at which it kills itself.
            idle: whether it ends when there is nothing to do.
        """
        begun.append(
            subprocess.Popen(
                [sys.executable, "-c", WORKER, str(folders.data), name, instant, "idle" if idle else ""],
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def finish(start: Start, store: SqlJobStore) -> None:
    """Let workers go on until every job has ended."""
    deadline = time.monotonic() + 60
    while counts(store) & {JobStatus.QUEUED, JobStatus.RUNNING}:
        assert time.monotonic() < deadline
        assert start("last", idle=True).wait() == 0


def counts(store: SqlJobStore) -> set[JobStatus]:
    return {status for status, count in store.counts().items() if count}


def assert_all_done(store: SqlJobStore, folders: Folders, jobs: list[Job]) -> None:
    """Every accepted job succeeded exactly once, its result is intact, and nothing else is left."""
    for job in jobs:
        done = store.get(job.id)
        assert done is not None and done.status is JobStatus.SUCCEEDED, done
        assert verify_job(folders.result(job.id)) == []
        kinds = [event.kind for event in store.events(job.id, 0, 10_000)]
        assert kinds.count("succeeded") == 1
    assert sorted(p.name for p in find_jobs(folders.outputs)) == sorted(job.id for job in jobs)
    assert len(list(folders.outputs.rglob("manifest.json"))) == len(jobs)
    assert temporary_files(folders) == []


def tree(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Everything below a folder, with identity, time and content."""
    found = {}
    for path in folder.rglob("*"):
        info = path.stat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path)] = (info.st_ino, info.st_mtime_ns, content)
    return found


def is_locked(folders: Folders) -> bool:
    """Whether somebody is in the middle of writing to the database."""
    connection = sqlite3.connect(folders.data / "pipeline.db", timeout=0.2, isolation_level=None)
    with closing(connection), suppress(sqlite3.OperationalError):
        connection.execute("BEGIN IMMEDIATE")
        return False
    return True


def kill_at_random(
    kills: int, seed: int, start: Start, store: SqlJobStore, folders: Folders, recording: Path
) -> None:
    rng = random.Random(seed)
    jobs: list[Job] = []

    def one_more() -> None:
        # Each owner's second job uses what the first has separated.
        owner = f"owner {len(jobs) // 2}"
        jobs.append(submit(store, folders, recording, max_attempts=1000, owner=owner))

    for _ in range(6):
        one_more()
    at: set[str | None] = set()
    killed = 0
    while killed < kills:
        if not counts(store) & {JobStatus.QUEUED, JobStatus.RUNNING}:
            one_more()
        process = start(f"worker-{killed}")
        assert said(process) == "ready"
        time.sleep(rng.uniform(0.0, 1.6))  # The instant of the kill, not a wait for anything.
        process.kill()
        process.wait()
        killed += 1
        at |= {job.stage for job in map(store.get, (j.id for j in jobs)) if job and not job.status.final}
    assert len(at - {None}) > 1, "the kills hit nothing"
    finish(start, store)
    assert_all_done(store, folders, jobs)


@pytest.mark.long
def test_kills_at_random_instants_lose_no_job(
    start: Start, store: SqlJobStore, folders: Folders, tmp_path: Path
) -> None:
    recording = write_wav(tmp_path / "song.wav", music(30.0, 22050), 22050)
    kill_at_random(10, 1, start, store, folders, recording)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2, 6))
def test_kills_at_many_random_instants_lose_no_job(
    seed: int, start: Start, store: SqlJobStore, folders: Folders, tmp_path: Path
) -> None:
    recording = write_wav(tmp_path / "song.wav", music(30.0, 22050), 22050)
    kill_at_random(40, seed, start, store, folders, recording)


INSTANTS = [
    *(f"enter {stage}" for stage in ("probe", "decode", "separate", "estimate", "encode", "publish")),
    "before publish",
    "after publish",
    "before succeed",
    "after succeed",
    "after settle",
]


@pytest.mark.long
def test_kills_at_the_borders_of_every_stage_lose_no_job(
    start: Start, store: SqlJobStore, folders: Folders, tmp_path: Path
) -> None:
    recording = write_wav(tmp_path / "song.wav", music(1.0))
    jobs = []
    for instant in INSTANTS:
        # Each with an owner of its own, whom no earlier job saves the separation.
        jobs.append(submit(store, folders, recording, max_attempts=1000, owner=instant))
        assert start("victim", instant).wait() == -signal.SIGKILL, instant
        assert len(find_jobs(folders.outputs)) <= len(jobs)
    finish(start, store)
    assert_all_done(store, folders, jobs)


@pytest.mark.long
def test_a_stopped_worker_that_lost_its_job_writes_nothing_when_it_wakes(
    start: Start, store: SqlJobStore, folders: Folders, tmp_path: Path
) -> None:
    job = submit(store, folders, write_wav(tmp_path / "long.wav", music(120.0, 22050, 1), 22050))
    stale = start("stale")
    assert said(stale) == "ready"
    deadline = time.monotonic() + 60
    while not (folders.checkpoint(job.id).exists() and folders.checkpoint(job.id).stat().st_size > 1 << 20):
        assert time.monotonic() < deadline
    stale.send_signal(signal.SIGSTOP)
    while is_locked(folders):  # A supervisor kills a frozen worker that holds the database; see there.
        stale.send_signal(signal.SIGCONT)
        stale.send_signal(signal.SIGSTOP)
    fresh = None
    while fresh is None:
        assert time.monotonic() < deadline
        fresh = store.claim("fresh", 60.0)
    assert attempt(store, folders, worker_config(), threading.Event(), fresh) is Outcome.SUCCEEDED
    before = tree(folders.result(job.id))
    events = [event.kind for event in store.events(job.id, 0, 10_000)]
    stale.send_signal(signal.SIGCONT)
    assert said(stale) == "lost"
    assert tree(folders.result(job.id)) == before
    assert [event.kind for event in store.events(job.id, 0, 10_000)] == events
    assert read_manifest(folders.result(job.id)).job_id == job.id
    assert_all_done(store, folders, [job])


def test_a_worker_told_to_stop_hands_its_job_back_in_time(
    start: Start, store: SqlJobStore, folders: Folders, tmp_path: Path
) -> None:
    job = submit(store, folders, write_wav(tmp_path / "song.wav", music(2.0)))
    process = start("first")
    assert said(process) == "ready"
    process.terminate()
    assert process.wait(30) == 0
    found = store.get(job.id)
    assert found is not None and found.status in {JobStatus.QUEUED, JobStatus.SUCCEEDED}
    finish(start, store)
    assert_all_done(store, folders, [job])
