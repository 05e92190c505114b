"""Workers that share the separation of one recording: two machines, one database, one storage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from api.database import open_database
from api.jobs.folders import Folders
from api.jobs.helping import Helper
from api.jobs.model import Job, JobStatus
from api.jobs.results import artifact_file, read_result
from api.jobs.shared import Shared
from api.jobs.sql_store import SqlJobStore
from api.jobs.stretches import StretchStore
from api.jobs.tables import stretches
from api.jobs.worker import Outcome, attempt
from api.migrate import upgrade
from api.storage.disk import DiskStorage
from pipeline.config import PipelineConfig
from pipeline.progress import Progress
from pipeline.separators.registry import WarmModel
from tests.audio_files import music, write_wav
from tests.networks import htdemucs, loaded
from tests.worker_support import claimed, made, now, submit, temporary_files, worker_config

ROOT = Path(__file__).parents[3]
TINY = PipelineConfig(estimators=(), formats=("wav",), threads=1)
CONFIG: dict[str, Any] = {"pipeline": TINY, "split_s": 2.0}

HELPER = """
import os, pathlib, signal, sys, threading
import pipeline.weights.load
from api.jobs.shared import Shared
from api.storage.disk import DiskStorage
from pipeline.stretches import Helping
from tests.networks import htdemucs, loaded
from tests.unit.jobs import test_helping as these

pipeline.weights.load.load = lambda *_, **__: loaded([htdemucs()])
if sys.argv[3] == "dies":
    from api.jobs.helping import SharedDivision
    SharedDivision.keep = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
cluster = these.Machines(pathlib.Path(sys.argv[1]))
helper = cluster.helper("helper")
helper.help(cluster.store.get(sys.argv[2]))
"""


class Machines:
    """Two machines with disks of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        storage = DiskStorage(folder / "volume")
        storage.create()
        self.shared = Shared(storage)
        self.engine = open_database(f"sqlite:///{folder / 'pipeline.db'}")
        upgrade(self.engine)
        self.store, self.stretches = SqlJobStore(self.engine), StretchStore(self.engine)

    def folders(self, name: str) -> Folders:
        return replace(made(self.folder / name), shared=self.shared)

    def submit(self, seconds: float = 9.0, owner: str = "owner") -> Job:
        own, song = self.folders("own"), write_wav(self.folder / "song.wav", music(seconds, 8000), 8000)
        job = submit(self.store, own, song, owner=owner)
        self.shared.keep_input(job.id, own.input(job))
        return job

    def run(self, stop: threading.Event | None = None, **config: Any) -> Outcome:
        """Run the next job on its own machine."""
        settings = worker_config(name="own", **{**CONFIG, **config})
        stop, claim = stop or threading.Event(), claimed(self.store, 3.0)
        folders = self.folders("own")
        return attempt(self.store, folders, settings, stop, claim, WarmModel(), stretches=self.stretches)

    def helper(self, name: str, stop: threading.Event | None = None, **config: Any) -> Helper:
        settings = worker_config(**{**CONFIG, "name": name, "lease_s": 1.0, **config})
        folders, stop = self.folders(name), stop or threading.Event()
        return Helper(self.store, self.stretches, folders, settings, stop, WarmModel(), lambda: None)

    def at_offer(self, monkeypatch: pytest.MonkeyPatch, then: Callable[[str], object]) -> None:
        """Do something when a job's worker has offered its stretches, and taken the first."""
        offer = StretchStore.offer

        def offered(stretches: StretchStore, job_id: str, *given: Any) -> None:
            offer(stretches, job_id, *given)
            stretches.take(job_id, given[1], 0)
            then(job_id)

        monkeypatch.setattr(StretchStore, "offer", offered)

    def sums(self, job: Job) -> dict[str, str]:
        folders = self.folders("own")
        found = read_result(folders, job.id).artifacts
        assert all(artifact_file(folders, job.id, artifact).path.is_file() for artifact in found)
        return {artifact.name: artifact.sha256 for artifact in found}


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machines:
    monkeypatch.setattr("pipeline.weights.load.load", lambda *_, **__: loaded([htdemucs()]))
    return Machines(tmp_path)


@pytest.fixture
def whole(machines: Machines) -> dict[str, str]:
    """Sums of the stems of a job that nobody helped with: another owner's, whose blocks are his alone."""
    job = machines.submit(owner="another")
    assert machines.run(split_s=1000.0) is Outcome.SUCCEEDED
    return machines.sums(job)


def left(machines: Machines) -> list[str]:
    """Whatever is left of dividing jobs."""
    with machines.engine.connect() as connection:
        rows = connection.execute(select(stretches)).all()
    helper = machines.folders("helper")
    files = [*temporary_files(helper), *helper.uploads.glob("*/input")]
    return [*machines.shared.divided(), *map(str, files), *map(str, rows)]


def test_a_job_that_was_helped_with_has_the_result_of_one_that_was_not(
    machines: Machines, whole: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = machines.submit()
    helper = machines.helper("helper")

    def help_it(_: str) -> None:
        wanting = helper.job()
        assert wanting is not None and wanting.id == job.id
        helper.help(wanting)
        assert len(list((machines.folder / "volume" / "stretches" / job.id).iterdir())) == 3
        assert helper.job() is None

    machines.at_offer(monkeypatch, help_it)
    assert machines.run() is Outcome.SUCCEEDED
    assert machines.sums(job) == whole
    assert read_result(machines.folders("own"), job.id).separation.stretches == 4
    assert not left(machines)


@pytest.mark.long
def test_the_stretch_of_a_helper_that_is_killed_is_made_again(
    machines: Machines, whole: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = machines.submit()

    def die(_: str) -> None:
        said = subprocess.run(
            [sys.executable, "-c", HELPER, str(machines.folder), job.id, "dies"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
        assert said.returncode == -signal.SIGKILL
        assert not machines.shared.divided()

    machines.at_offer(monkeypatch, die)
    assert machines.run() is Outcome.SUCCEEDED
    assert machines.sums(job) == whole


def test_a_helper_stops_when_the_job_is_cancelled(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = machines.submit()
    helper = machines.helper("helper")
    reached = []

    def help_it(job_id: str) -> None:
        step = Progress.step

        def cancelled(progress: Progress, fraction: float) -> None:
            step(progress, fraction)
            if not reached and progress._stage == "separate" and fraction > 0:
                reached.append(machines.store.request_cancel(job_id))
                progress_of_helper.wait(30)  # Until its heartbeat has told it.

        progress_of_helper = threading.Event()
        beat = StretchStore.beat

        def told(stretches: StretchStore, *given: Any) -> bool:
            held = beat(stretches, *given)
            if not held:
                progress_of_helper.set()
            return held

        with monkeypatch.context() as patch:
            patch.setattr(Progress, "step", cancelled)
            patch.setattr(StretchStore, "beat", told)
            helper.help(now(machines.store, job))

    machines.at_offer(monkeypatch, help_it)
    assert machines.run() is Outcome.CANCELLED
    assert len(reached) == 1
    assert now(machines.store, job).status is JobStatus.CANCELLED
    assert not left(machines)


def test_jobs_that_wait_go_before_helping(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    job = machines.submit()

    def help_it(_: str) -> None:
        machines.submit(0.5)
        machines.helper("helper").help(now(machines.store, job))
        assert not machines.shared.divided()

    machines.at_offer(monkeypatch, help_it)
    assert machines.run() is Outcome.SUCCEEDED


def test_a_machine_that_would_compute_other_bits_leaves_the_job_alone(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines.submit()
    helper = machines.helper("helper", pipeline=TINY.model_copy(update={"overlap": 0.5}))

    def help_it(_: str) -> None:
        wanting = helper.job()
        assert wanting is not None
        helper.help(wanting)
        assert helper.job() is None

    machines.at_offer(monkeypatch, help_it)
    assert machines.run() is Outcome.SUCCEEDED


def test_a_worker_that_has_to_stop_hands_its_stretch_back(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = machines.submit()
    stop = threading.Event()
    helper = machines.helper("helper", stop)

    def help_it(_: str) -> None:
        claim = StretchStore.claim

        def claimed_and_stopped(*given: Any) -> int | None:
            begin = claim(*given)
            stop.set()
            return begin

        with monkeypatch.context() as patch:
            patch.setattr(StretchStore, "claim", claimed_and_stopped)
            helper.help(now(machines.store, job))
        assert machines.stretches.wanting() == [job.id]

    machines.at_offer(monkeypatch, help_it)
    assert machines.run() is Outcome.SUCCEEDED
