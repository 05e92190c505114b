"""The real service is destroyed in part or in whole, and comes back from its backups."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.database import open_database
from api.jobs.folders import Folders
from api.jobs.sql_store import SqlJobStore
from api.keeping.backup import back_up
from api.keeping.holdings import Holdings
from api.keeping.vault import FolderVault
from tests.audio_files import music, write_wav
from tests.faults.service_faults import assert_done_once, under_way, until
from tests.service import Service, ended, submit


def run(service: Service, *argv: str, status: int = 0) -> str:
    """Run a command of the service's command line with the service's settings."""
    done = subprocess.run(
        [*service.prefix, sys.executable, "-m", "api", *argv],
        cwd=service.folder.parent, env=service.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    (tmp_path / "data").mkdir()
    with Service(tmp_path / "data", PIPELINE_BACKUP_DIR=str(tmp_path / "backups")) as running:
        yield running


def song(folder: Path, name: str, seconds: float, seed: int = 1) -> Path:
    return write_wav(folder / name, music(seconds, seed=seed))


def holdings_of(data: Path) -> Holdings:
    """What a service holds that works there at this moment."""
    engine = open_database(f"sqlite:///{data / 'pipeline.db'}", create=False)
    return Holdings(engine, SqlJobStore(engine), Folders.below(data))


def lose(service: Service) -> None:
    """Take everything away, as a disk does that dies."""
    service.kill()
    shutil.rmtree(service.folder)
    service.folder.mkdir()


@pytest.mark.long
def test_after_a_complete_loss_everything_comes_back_and_jobs_go_on(service: Service, tmp_path: Path) -> None:
    with service.client() as http:
        done = submit(http, song(tmp_path, "a.wav", 1.0), estimators="none").json()["id"]
        assert ended(http, done)["status"] == "succeeded"
        running = submit(http, song(tmp_path, "b.wav", 20.0, 2), estimators="none").json()["id"]
        waiting = submit(http, song(tmp_path, "c.wav", 1.0, 3), estimators="none").json()["id"]
        under_way(http, running)
        back_up(holdings_of(service.folder), FolderVault(tmp_path / "backups"), "full")
        status = json.loads((service.folder / "backup-status.json").read_bytes())
        assert status["kind"] == "full" and status["bytes"] > 100_000
        manifest = http.get(f"/jobs/{done}/manifest").content
    lose(service)
    came = json.loads(run(service, "restore", "--json"))
    assert (came["jobs"], came["unfinished"], came["incomplete"]) == (3, 2, 0)
    service.start()
    with service.client() as http:
        assert_done_once(http, service.folder, [done, running, waiting])
        assert http.get(f"/jobs/{done}/manifest").content == manifest
        assert http.get("/admin/audit/verify").json()["broken_at"] is None
    assert json.loads(run(service, "verify", "--json"))["faults"] == []


@pytest.mark.slow
def test_a_database_that_is_lost_comes_back_beside_the_files(service: Service, tmp_path: Path) -> None:
    with service.client() as http:
        done = submit(http, song(tmp_path, "a.wav", 1.0), estimators="none").json()["id"]
        assert ended(http, done)["status"] == "succeeded"
        run(service, "backup")
    service.kill()
    for path in service.folder.glob("pipeline.db*"):
        path.unlink()
    assert "is not empty" in subprocess.run(
        [sys.executable, "-m", "api", "restore"],
        cwd=tmp_path, env=service.environment, capture_output=True, text=True, check=False,
    ).stderr  # fmt: skip
    run(service, "restore", "--only-database")
    service.start()
    with service.client() as http:
        assert_done_once(http, service.folder, [done])
    assert json.loads(run(service, "verify", "--json"))["faults"] == []


NEEDLES = ("Xq7 private name", "zyxwv a lyric that nobody else sings", "patient 4711 of ward nine")


def found(folder: Path, *needles: bytes) -> list[str]:
    """Files with one of the texts in their bytes: hexadecimal digits, as a search over a disk compares."""
    hidden = [needle.hex() for needle in needles]
    return [
        f"{path}: {needle}"
        for path in folder.rglob("*")
        if path.is_file()
        for data in [path.read_bytes().hex()]
        for needle in hidden
        if needle in data
    ]


@pytest.mark.slow
def test_after_an_erasure_a_search_over_the_disk_finds_nothing(service: Service, tmp_path: Path) -> None:
    name, lyric, subject = NEEDLES
    source = song(tmp_path, f"{name}.wav", 2.0)
    broken = tmp_path / f"{name} broken.wav"
    broken.write_bytes(source.read_bytes()[:30_000])
    recording = source.read_bytes()[50_000:50_200]
    needles = (*(text.encode() for text in NEEDLES), recording)
    with service.client() as http:
        fields = {"estimators": "none", "subject": subject, "metadata": json.dumps({"lyric": lyric})}
        job = submit(http, source, headers={"Idempotency-Key": "k"}, **fields).json()
        assert ended(http, job["id"])["status"] == "succeeded" and job["subject"] == subject
        failed = submit(http, broken, **fields)
        assert failed.status_code in (202, 415, 422)
        assert http.get(f"/jobs/{job['id']}/audio").status_code == 200
        until(lambda: http.get(f"/jobs/{job['id']}/audio").json()["complete"], "it can be listened to")
        assert http.get(f"/jobs/{job['id']}/peaks").status_code == 200
        run(service, "backup", "--kind", "full")
        assert found(tmp_path, recording), "the search finds what is there"
        source.unlink()
        broken.unlink()
        hold = http.post("/admin/holds", json={"kind": "job", "target": job["id"], "reason": "case 1"})
        refused = http.delete(f"/jobs/{job['id']}")
        assert (refused.status_code, refused.json()["code"]) == (409, "legal_hold")
        assert http.delete(f"/admin/holds/{hold.json()['id']}").status_code == 200
        receipt = run(service, "erasure", "run", "--subject", subject)
        assert found(tmp_path, *needles) == []
        assert http.get(f"/jobs/{job['id']}").status_code == 410
        assert http.get("/admin/audit/verify").json()["broken_at"] is None
        (tmp_path / "receipt.json").write_text(receipt)
        run(service, "erasure", "verify", str(tmp_path / "receipt.json"))
    lose(service)
    run(service, "restore")
    assert found(tmp_path, *needles) == []
    assert Folders.below(service.folder).result(job["id"]).exists() is False
    run(service, "erasure", "verify", str(tmp_path / "receipt.json"))
