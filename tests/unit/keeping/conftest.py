"""A data folder with real jobs in it: two that succeeded and one that waits. Each test has its own copy."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from api.audit import Audit
from api.database import open_database
from api.jobs.folders import Folders
from api.jobs.sql_store import SqlJobStore
from api.jobs.worker import attempt
from api.keeping.holdings import Holdings
from api.security.secret import ServerSecret, load_secret
from api.settings import Settings
from tests.audio_files import music, write_wav
from tests.worker_support import claimed, made, open_store, submit, worker_config


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    folders = made(folder / "data")
    store = open_store(folders)
    engine = store._engine
    audit = Audit(engine, load_secret(Settings(data_dir=folders.data)))
    for seed in (1, 2):
        path = write_wav(folder / "song.wav", music(0.3, seed=seed))
        job = submit(store, folders, path, filename=f"secret song {seed}.wav", subject=f"person {seed}",
                     metadata={"lyric": f"words nobody else sings {seed}"})  # fmt: skip
        audit.record("process", user=job.owner, status="accepted", input=job.filename, job_id=job.id)
        attempt(store, folders, worker_config(), threading.Event(), claimed(store))
    submit(store, folders, path, filename="waiting.wav")
    engine.dispose()
    return folder


@pytest.fixture
def folders(original: Path, tmp_path: Path) -> Folders:
    shutil.copytree(original / "data", tmp_path / "data", symlinks=True)
    return Folders.below(tmp_path / "data")


@pytest.fixture
def engine(folders: Folders) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{folders.data / 'pipeline.db'}", create=False)
    yield engine
    engine.dispose()


@pytest.fixture
def holdings(folders: Folders, engine: Engine) -> Holdings:
    return Holdings(engine, SqlJobStore(engine), folders)


@pytest.fixture
def secret(folders: Folders) -> ServerSecret:
    return load_secret(Settings(data_dir=folders.data))
