"""A data folder whose files are encrypted."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.jobs.folders import Folders
from api.jobs.model import Job
from api.jobs.store import JobFilter
from api.jobs.worker import Outcome, attempt
from api.keeping.holdings import Holdings
from api.security.secret import ServerSecret, load_secret
from api.settings import Settings
from tests.audio_files import music, write_wav
from tests.encryption_support import encrypting
from tests.worker_support import (
    claimed,
    made,
    open_store,
    submit,
    worker_config,
)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a job that has succeeded and one that waits, and its recording."""
    folder = tmp_path_factory.mktemp("original")
    plain = made(folder / "data")
    store = open_store(plain)
    folders = encrypting(plain, store._engine)
    for seed in (1, 2):
        path = write_wav(folder / f"{seed}.wav", music(1.5, seed=seed))
        submit(store, folders, path)
    assert attempt(store, folders, worker_config(), threading.Event(), claimed(store)) is Outcome.SUCCEEDED
    store._engine.dispose()
    return folder


@pytest.fixture
def holdings(original: Path, tmp_path: Path) -> Iterator[Holdings]:
    shutil.copytree(original / "data", tmp_path / "data")
    folders = Folders.below(tmp_path / "data")
    store = open_store(folders)
    yield Holdings(store._engine, store, encrypting(folders, store._engine))
    store._engine.dispose()


@pytest.fixture
def job(holdings: Holdings) -> Job:
    return next(job for job in holdings.store.find(JobFilter()) if job.status.final)


@pytest.fixture
def secret(holdings: Holdings) -> ServerSecret:
    return load_secret(Settings(data_dir=holdings.folders.data))
