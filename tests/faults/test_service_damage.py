"""Files of the service that are damaged, removed or unreachable, while it runs and while it does not."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.audio_files import music, write_wav
from tests.faults.service_faults import assert_done_once, reasons, refused, under_way, until
from tests.service import Service, ended, submit


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Its data folder lies behind a link, which must make no difference."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "disk").mkdir()
    (folder / "data").symlink_to("disk")
    with Service(folder / "data") as running:
        yield running


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


def song(folder: Path, seed: int, seconds: float = 1.0) -> Path:
    return write_wav(folder / f"song {seed}.wav", music(seconds, seed=seed))


def finished(http: httpx.Client, path: Path) -> str:
    job_id = submit(http, path, estimators="none").json()["id"]
    assert ended(http, job_id)["status"] == "succeeded"
    return str(job_id)


@pytest.mark.parametrize(
    ("number", "content"),
    [(1, None), (2, b"{}"), (3, b""), (4, b"\x00" * 4096), (5, b'{"schema_version": "1.0"')],
)
def test_a_damaged_manifest_is_said_and_the_job_can_be_made_again(
    service: Service, http: httpx.Client, tmp_path: Path, number: int, content: bytes | None
) -> None:
    path = song(tmp_path, number)
    job_id = finished(http, path)
    manifest = service.folder / "outputs" / job_id / "manifest.json"
    manifest.unlink()
    if content is not None:
        manifest.write_bytes(content)
    for part in ("manifest", "stems/vocals", "archive", "peaks"):
        refused(http.get(f"/jobs/{job_id}/{part}"), 410, "result_damaged")
    again = submit(http, path, estimators="none")
    assert again.status_code == 202 and again.json()["id"] != job_id
    assert ended(http, again.json()["id"])["status"] == "succeeded"
    assert submit(http, path, estimators="none").headers["X-Repeated"] == "true"
    assert reasons(http) == []


@pytest.mark.parametrize("cut", [False, True])
def test_a_lost_stem_is_said_and_the_others_are_served(
    service: Service, http: httpx.Client, tmp_path: Path, cut: bool
) -> None:
    job_id = finished(http, song(tmp_path, 10 + cut))
    stem = service.folder / "outputs" / job_id / "stems" / "vocals.flac"
    if cut:
        os.truncate(stem, stem.stat().st_size // 2)
    else:
        stem.unlink()
    for part in ("stems/vocals", "artifacts/vocals.flac", "archive", "peaks"):
        refused(http.get(f"/jobs/{job_id}/{part}"), 410, "result_damaged")
    assert http.get(f"/jobs/{job_id}/stems/drums").status_code == 200
    assert http.get(f"/jobs/{job_id}/manifest").status_code == 200


def test_a_recording_that_was_damaged_while_it_waited_is_not_taken_for_the_one_that_was_sent(
    service: Service, http: httpx.Client, tmp_path: Path
) -> None:
    first, changed, lost = (
        submit(http, song(tmp_path, seed, seconds), estimators="none").json()["id"]
        for seed, seconds in ((20, 20.0), (21, 1.0), (22, 1.0))
    )
    uploads = service.folder / "uploads"
    with (uploads / changed / "input").open("r+b") as file:
        file.seek(5000)
        file.write(bytes(1000))
    (uploads / lost / "input").unlink()
    assert ended(http, first)["status"] == "succeeded"
    assert [ended(http, job)["error"]["code"] for job in (changed, lost)] == [
        "input_changed",
        "input_not_found",
    ]


@pytest.mark.parametrize("name", ["uploads", "outputs"])
def test_a_folder_that_goes_and_comes_back_costs_no_job(
    service: Service, http: httpx.Client, tmp_path: Path, name: str
) -> None:
    before = finished(http, song(tmp_path, 30 + len(name)))
    waiting = song(tmp_path, 40 + len(name))
    folder, away = service.folder / name, service.folder / f"{name} away"
    folder.rename(away)
    if name == "outputs":
        folder.mkdir()  # What is left of a disk that was unmounted.
    until(lambda: reasons(http) == ["storage"], "it says that it cannot work")
    refused(submit(http, waiting, estimators="none"), 503, "storage_unavailable")
    if name == "outputs":
        refused(http.get(f"/jobs/{before}/manifest"), 503, "storage_unavailable")
        assert list(folder.iterdir()) == [], "something was written in place of the disk"
        folder.rmdir()
    away.rename(folder)
    until(lambda: reasons(http) == [], "it works again")
    finished(http, waiting)
    assert http.get(f"/jobs/{before}/manifest").status_code == 200


@pytest.mark.long
def test_jobs_wait_for_the_disk_of_the_results(tmp_path: Path) -> None:
    with Service(tmp_path) as service, service.client() as http:
        running = submit(http, song(tmp_path, 1, 30.0), estimators="none").json()["id"]
        under_way(http, running)
        waiting = submit(http, song(tmp_path, 2), estimators="none").json()["id"]
        attempts = tmp_path / "outputs" / ".attempts"
        (tmp_path / "uploads").rename(tmp_path / "away")  # The job that runs has its recording open.
        assert ended(http, running)["status"] == "succeeded"
        until(lambda: reasons(http) == ["storage"], "it says so")
        assert http.get(f"/jobs/{waiting}").json()["status"] == "queued"
        (tmp_path / "away").rename(tmp_path / "uploads")
        jobs = assert_done_once(http, tmp_path, [running, waiting])
        assert [job["attempt"] for job in jobs] == [1, 1]
        assert list(attempts.iterdir()) == []


def database(service: Service) -> Path:
    return service.folder / "pipeline.db"


def started(service: Service) -> subprocess.CompletedProcess[str]:
    """Start a service that is going to refuse."""
    return subprocess.run(
        [sys.executable, "-m", "api", "serve"],
        cwd=service.folder,
        env=service.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def damage(path: Path, table: str | None) -> None:
    """Overwrite the first page of a table, or all pages but the first of the database."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        found = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        count = connection.execute("PRAGMA page_count").fetchone()[0]
    rng = random.Random(1)
    with path.open("r+b") as file:
        for page in [found[0] - 1] if found else range(1, count):
            file.seek(page * 4096)
            file.write(rng.randbytes(4096))


@pytest.mark.long
def test_a_damaged_database_stops_the_start_and_a_backup_heals_it(tmp_path: Path) -> None:
    service = Service(tmp_path)
    with service, service.client() as http:
        job_id = finished(http, song(tmp_path, 1))
        assert service.stop() in (0, -15)
    backup = database(service).read_bytes()
    damage(database(service), "jobs")
    said = started(service)
    assert said.returncode == 1
    assert "error: The database file is damaged" in said.stderr and "restore a backup" in said.stderr
    assert "Traceback" not in said.stderr
    database(service).write_bytes(backup)
    with service, service.client() as http:
        assert_done_once(http, tmp_path, [job_id])


@pytest.mark.long
def test_a_database_that_is_damaged_while_it_is_used_is_said(tmp_path: Path) -> None:
    with Service(tmp_path) as service, service.client() as http:
        job_id = finished(http, song(tmp_path, 1))
        manifest = (tmp_path / "outputs" / job_id / "manifest.json").read_bytes()
        damage(database(service), None)
        until(lambda: reasons(http) == ["database"], "it says so")
        refused(http.get(f"/jobs/{job_id}"), 503, "database_unavailable")
        refused(submit(http, song(tmp_path, 2)), 503, "database_unavailable")
        assert (tmp_path / "outputs" / job_id / "manifest.json").read_bytes() == manifest


@pytest.mark.long
def test_a_database_that_is_removed_while_it_is_used_takes_no_job_with_it(tmp_path: Path) -> None:
    """What is accepted into a file without a name would be gone with the process."""
    with Service(tmp_path) as service, service.client() as http:
        job_id = finished(http, song(tmp_path, 1))
        with closing(sqlite3.connect(database(service))) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copyfile(database(service), tmp_path / "backup")
        for path in tmp_path.glob("pipeline.db*"):
            path.unlink()
        until(lambda: reasons(http) == ["database"], "it says so")
        refused(submit(http, song(tmp_path, 2)), 503, "output_unwritable")
        assert not database(service).exists(), "a new one was made in its place"
        (tmp_path / "backup").rename(database(service))
        until(lambda: reasons(http) == [], "it works again")
        assert_done_once(http, tmp_path, [job_id, finished(http, song(tmp_path, 2))])


@pytest.mark.long
@pytest.mark.parametrize(
    "cut", [pytest.param(0, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.slow), 5000]
)
def test_a_write_ahead_log_that_is_cut_short_leaves_a_sound_database(tmp_path: Path, cut: int) -> None:
    service = Service(tmp_path)
    with service, service.client() as http:
        first = finished(http, song(tmp_path, 1))
        with closing(sqlite3.connect(database(service))) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finished(http, song(tmp_path, 2))
        service.kill()
        os.truncate(tmp_path / "pipeline.db-wal", cut)
        service.start()
        assert reasons(http) == []
        assert http.get(f"/jobs/{first}").json()["status"] == "succeeded"
        finished(http, song(tmp_path, 3))
