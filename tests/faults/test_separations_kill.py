"""A worker dies while it keeps, uses or gives up a separation: nothing is lost, and nothing is left."""

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from api.jobs.folders import Folders
from api.jobs.housekeeping import sweep
from api.jobs.model import Job, JobStatus
from api.jobs.retention import Policy
from api.jobs.separations import names_of
from api.jobs.sql_store import SqlJobStore
from api.jobs.worker import attempt, tidy
from pipeline.checkpoint_format import complete_identity
from pipeline.manifest import Manifest, read_manifest
from pipeline.verify import verify_job
from tests.audio_files import music, write_wav
from tests.worker_support import made, open_store, submit, temporary_files, worker_config

ROOT = Path(__file__).parents[2]

VICTIM = """
import os, pathlib, signal, sys, threading
from api.jobs import separations, worker
from tests.worker_support import made, open_store, worker_config

data, instant, cache = sys.argv[1:]
folders = made(pathlib.Path(data))
when, _, what = instant.partition(" ")
owner, method = {
    "keep": (worker, "keep"),
    "move": (pathlib.Path, "rename"),
    "take": (pathlib.Path, "hardlink_to"),
    "prune": (worker, "prune"),
    "remove": (separations, "_remove"),
}[what]
function = getattr(owner, method)

def killing(*given, **named):
    # Attempts rename their results too, but none to here.
    if what == "move" and given[1].parent.parent != folders.separations:
        return function(*given, **named)
    if when == "after":
        function(*given, **named)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(owner, method, killing)
config = worker_config(lease_s=1.0, separation_cache_bytes=int(cache))
worker.work(open_store(folders), folders, config, threading.Event())
"""


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return made(tmp_path / "data")


@pytest.fixture
def store(folders: Folders) -> SqlJobStore:
    return open_store(folders)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "song.wav", music(1.0))


def killed(folders: Folders, instant: str, cache: int = 1 << 30) -> None:
    """Let a worker run until it kills itself."""
    said = subprocess.run(
        [sys.executable, "-c", VICTIM, str(folders.data), instant, str(cache)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == -signal.SIGKILL, said.stderr


def finish(store: SqlJobStore, folders: Folders, job: Job) -> Manifest:
    """Do what the next worker does, until the job has ended."""
    tidy(store, folders)
    while (found := store.get(job.id)) is not None and not found.status.final:
        if claim := store.claim("next", 60.0):
            attempt(store, folders, worker_config(), threading.Event(), claim)
    assert found is not None and found.status is JobStatus.SUCCEEDED
    assert verify_job(folders.result(job.id)) == []
    assert temporary_files(folders) == []
    return read_manifest(folders.result(job.id))


@pytest.mark.long
@pytest.mark.parametrize("instant", ["before keep", "before move", "after move", "before prune"])
def test_a_separation_is_kept_whenever_the_worker_dies(
    instant: str, store: SqlJobStore, folders: Folders, recording: Path
) -> None:
    job = submit(store, folders, recording)
    killed(folders, instant)
    finish(store, folders, job)
    (kept,) = names_of(folders, job.id)
    assert kept.name == f"{complete_identity(kept)}.{job.id}"
    assert not kept.stat().st_mode & stat.S_IWUSR
    again = submit(store, folders, recording, options={"formats": ["mp3"]})
    assert finish(store, folders, again).separation.reused == 1.0


@pytest.mark.long
@pytest.mark.parametrize("instant", ["before take", "after take"])
def test_a_job_that_takes_a_separation_survives_the_death_of_its_worker(
    instant: str, store: SqlJobStore, folders: Folders, recording: Path
) -> None:
    first = submit(store, folders, recording)
    finish(store, folders, first)
    second = submit(store, folders, recording, options={"formats": ["mp3"]})
    killed(folders, instant)
    # What the dead attempt took stays, whatever becomes of the job that it came from.
    assert len(list(folders.checkpoints.iterdir())) == (instant == "after take")
    assert finish(store, folders, second).separation.reused == 1.0
    assert len({path.stat().st_ino for path in names_of(folders)}) == 1


def test_what_was_to_go_goes_later(store: SqlJobStore, folders: Folders, recording: Path) -> None:
    job = submit(store, folders, recording)
    killed(folders, "before remove", cache=0)
    finish(store, folders, job)
    sweep(store, folders, Policy(None), separation_cache_bytes=0)
    assert list(folders.separations.iterdir()) == []
