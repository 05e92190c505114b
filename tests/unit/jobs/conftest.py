"""Folders, a store and recordings of its own for every test."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.jobs.folders import Folders
from api.jobs.sql_store import SqlJobStore
from tests.audio_files import music, write_wav
from tests.worker_support import made, open_store


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return made(tmp_path / "data")


@pytest.fixture
def store(folders: Folders) -> SqlJobStore:
    return open_store(folders)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "song.wav", music(1.0))


@pytest.fixture
def long_recording(tmp_path: Path) -> Path:
    """Several blocks of the separator."""
    return write_wav(tmp_path / "long.wav", music(60.0, 22050, 1), 22050)
