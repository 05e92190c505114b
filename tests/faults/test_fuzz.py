"""Schemathesis against a running service: what /openapi.json promises is kept, whatever is sent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.audio_files import music, write_wav
from tests.service import KEY, Service, ended, submit

pytestmark = pytest.mark.slow

SETTINGS = """
[dictionaries.jobs]
values = ["{job_id}"]
[dictionaries.names]
values = ["vocals", "other", "manifest.json"]
[parameters]
"path.job_id" = {{ dictionary = "jobs", probability = 0.5 }}
"path.name" = {{ dictionary = "names", probability = 0.5 }}

# A model that there is not, or bytes that are no recording, fit the schema and are refused all the same.
[checks.positive_data_acceptance]
enabled = false
# tus says 411 where Upload-Length is missing, and 412 where Tus-Resumable is.
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 409, 411, 412, 413, 415, 422, 429, 460]
[checks.missing_required_header]
expected-statuses = [400, 401, 403, 404, 411, 412, 415, 422]

[[operations]]
include-name = "DELETE /jobs/{{job_id}}"
parameters = {{ "path.job_id" = "00000000-0000-4000-8000-000000000000" }}  # the job is to last

[[operations]]
include-name = "POST /uploads"
checks = {{ negative_data_rejection = {{ enabled = false }} }}  # a header of no meaning is no error

[[operations]]
include-name = "POST /batches"
checks = {{ negative_data_rejection = {{ enabled = false }} }}  # a bad item is told, and the others are taken
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    plenty = {"PIPELINE_UPLOAD_COUNT": "100000", "PIPELINE_MAX_QUEUED": "100000"}
    with Service(folder, PIPELINE_RATE_REFUSED="off", **plenty) as running:
        yield running


@pytest.fixture(scope="module")
def settings(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings of schemathesis: now and then it asks for a job that there is."""
    folder = tmp_path_factory.mktemp("fuzz")
    with service.client() as http:
        job_id = submit(http, write_wav(folder / "song.wav", music(1.0))).json()["id"]
        assert ended(http, job_id)["status"] == "succeeded"
    path = folder / "schemathesis.toml"
    path.write_text(SETTINGS.format(job_id=job_id))
    return path


def fuzz(service: Service, settings: Path, *arguments: str) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    said = subprocess.run(
        [
            program, "--config-file", settings, "--no-color",
            "run", f"{service.url}/openapi.json",
            "--header", f"X-API-Key: {KEY}",
            "--request-timeout", "90", "--continue-on-failure", "--warnings", "off",
            *arguments,
        ],
        cwd=settings.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stdout[-8000:] + said.stderr[-2000:]
    assert service.process is not None and service.process.poll() is None
    assert '"level": "error"' not in service.said.read_text()


def test_the_service_keeps_what_its_openapi_document_promises(service: Service, settings: Path) -> None:
    fuzz(service, settings, "--phases", "coverage", "--seed", "1")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(3))
def test_long_fuzzing_finds_nothing(service: Service, settings: Path, seed: int) -> None:
    fuzz(service, settings, "--phases", "fuzzing,stateful", "--seed", str(seed), "--max-examples", "150")
