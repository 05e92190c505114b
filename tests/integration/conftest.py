"""A service of its own for every file of tests, and a job that it has done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from pipeline.manifest import Manifest
from tests.audio_files import music, write_wav
from tests.service import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("song") / "my song.wav", music(3.0))


@pytest.fixture(scope="module")
def finished(service: Service, song: Path) -> str:
    """Id of a job that succeeded."""
    with service.client() as client, song.open("rb") as file:
        answer = client.post(
            "/process?wait=60", files={"file": (song.name, file)}, data={"stems": "vocals,no_vocals"}
        )
    assert answer.status_code == 200, answer.text
    return Manifest.model_validate_json(answer.content).job_id
