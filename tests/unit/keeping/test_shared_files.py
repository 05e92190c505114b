"""Where machines share a storage, what it holds is backed up, verified, erased and restored."""

from __future__ import annotations

import shutil
import threading
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from api.audit import Audit
from api.encryption.data_keys import DataKeys
from api.encryption.master_keys import MasterKeys
from api.jobs.folders import Folders
from api.jobs.model import Job
from api.jobs.results import artifact_file, is_whole, manifest_sum, read_result
from api.jobs.shared import Shared
from api.jobs.store import JobFilter
from api.jobs.worker import Outcome, attempt
from api.keeping.backup import back_up
from api.keeping.erasure import Eraser, what_is_left
from api.keeping.errors import PlaceOccupied
from api.keeping.holdings import Holdings
from api.keeping.holds import Holds
from api.keeping.portability import export
from api.keeping.restore import restore
from api.keeping.scrub import scrub
from api.keeping.tombstones import standing
from api.keeping.vault import FolderVault
from api.keeping.verify import verify
from api.security.secret import ServerSecret, load_secret
from api.settings import Settings
from api.storage.base import Storage
from api.storage.disk import DiskStorage
from api.storage.s3 import S3Storage
from api.uploads.store import Uploads
from tests.audio_files import music, write_wav
from tests.encryption_support import OLD, encrypting
from tests.s3_server import BUCKET, s3_server
from tests.worker_support import claimed, made, open_store, submit, worker_config


@pytest.fixture(params=["disk", "s3", "s3, encrypted"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def storages(kind: str, tmp_path: Path) -> Iterator[list[Storage]]:
    """Two empty ones."""
    if kind == "disk":
        disks = [DiskStorage(tmp_path / name) for name in ("one", "two")]
        for disk in disks:
            disk.create()
        yield list(disks)
    else:
        with s3_server() as endpoint:
            place = uuid.uuid4()  # All servers of a process hold the same.
            yield [S3Storage(BUCKET, f"{place}/{name}", endpoint=endpoint) for name in ("one", "two")]


@pytest.fixture
def holdings(kind: str, storages: list[Storage], tmp_path: Path) -> Iterator[Holdings]:
    """A service with two jobs that a worker elsewhere has run, and one that waits."""
    front, worker = (
        replace(made(tmp_path / name), shared=Shared(storages[0])) for name in ("front", "worker")
    )
    store = open_store(front)
    if "encrypted" in kind:
        front, worker = (encrypting(one, store._engine) for one in (front, worker))
    assert front.shared is not None
    for seed in (1, 2, 3):
        job = submit(
            store, front, write_wav(tmp_path / "song.wav", music(0.3, seed=seed)), subject=f"s {seed}"
        )
        front.shared.keep_input(job.id, front.input(job))
    for _ in range(2):
        ours = attempt(store, worker, worker_config(), threading.Event(), claimed(store))
        assert ours is Outcome.SUCCEEDED
    shutil.rmtree(front.uploads)
    front.make()  # What lies here counts for nothing.
    yield Holdings(store._engine, store, front)
    store._engine.dispose()


@pytest.fixture
def secret(holdings: Holdings) -> ServerSecret:
    return load_secret(Settings(data_dir=holdings.folders.data))


def finished(holdings: Holdings) -> list[Job]:
    return [job for job in holdings.store.find(JobFilter()) if job.status.final]


def test_a_full_backup_of_a_storage_is_restored_into_an_empty_one(
    holdings: Holdings, secret: ServerSecret, storages: list[Storage], kind: str, tmp_path: Path
) -> None:
    vault = FolderVault(tmp_path / "backups")
    contents = back_up(holdings, vault, "full").contents
    names = [held.path for held in contents.files if held.path.startswith(("outputs/", "uploads/"))]
    assert len(names) == 2 * 5 + 3
    assert not list(holdings.folders.data.glob(".keeping-*")), "nothing stays of what was brought here"
    before = {job.id: read_result(holdings.folders, job.id) for job in finished(holdings)}

    other = replace(Folders.below(tmp_path / "other"), shared=Shared(storages[1]))
    url = f"sqlite:///{other.data / 'pipeline.db'}"
    masters = MasterKeys([OLD])
    came = restore(vault, other, url, lambda: secret, masters=masters)
    assert (came.jobs, came.unfinished, came.incomplete) == (3, 1, 0)
    store = open_store(other)
    third = replace(made(tmp_path / "third"), shared=Shared(storages[1]))
    if "encrypted" in kind:
        third = encrypting(third, store._engine)
    assert {job_id: read_result(third, job_id) for job_id in before} == before
    assert all(is_whole(third, job_id) for job_id in before)
    assert verify(Holdings(store._engine, store, third)).faults == []
    claim = claimed(store)
    assert attempt(store, third, worker_config(), threading.Event(), claim) is Outcome.SUCCEEDED
    store._engine.dispose()
    with pytest.raises(PlaceOccupied, match="storage"):
        restore(vault, replace(Folders.below(tmp_path / "x"), shared=other.shared), url + "x", lambda: secret)


def test_whatever_a_storage_loses_or_changes_is_found(
    holdings: Holdings, secret: ServerSecret, storages: list[Storage], tmp_path: Path
) -> None:
    audit, storage = Audit(holdings.engine, secret), storages[0]
    one, two = finished(holdings)
    for job in (one, two):
        audit.record(
            "job.end",
            user="o",
            status="succeeded",
            output=manifest_sum(holdings.folders, job.id),
            job_id=job.id,
        )
    verified = verify(holdings, audit)
    assert verified.faults == [] and verified.files == 2 * 5 + 3
    first, second, *_ = read_result(holdings.folders, one.id).artifacts
    (tmp_path / "wrong").write_bytes(b"not what was published")
    storage.put(f"outputs/{one.id}/{first.sha256[:16]}/{first.path}", tmp_path / "wrong")
    storage.remove(f"outputs/{one.id}/{second.sha256[:16]}/")
    storage.put(f"outputs/{one.id}/0000000000000000/stray", tmp_path / "wrong")
    storage.put(f"outputs/{two.id}/manifest.json", tmp_path / "wrong")
    storage.remove(f"uploads/{two.id}/")
    storage.put("outputs/nobody/manifest.json", tmp_path / "wrong")
    found = {(fault.path, fault.problem) for fault in verify(holdings, audit).faults}
    assert found == {
        (f"outputs/{one.id}/{first.path}", "changed"),
        (f"outputs/{one.id}/{second.path}", "missing"),
        (f"outputs/{one.id}/0000000000000000", "unlisted"),
        (f"outputs/{two.id}/manifest.json", "changed"),
        (f"uploads/{two.id}/input", "missing"),
        ("storage/nobody", "orphan"),
    }


def test_what_is_erased_goes_from_the_storage_and_from_its_backups(
    holdings: Holdings, secret: ServerSecret, storages: list[Storage], tmp_path: Path
) -> None:
    vault, folders = FolderVault(tmp_path / "backups"), holdings.folders
    back_up(holdings, vault, "full")
    one, two = finished(holdings)
    uploads = Uploads(folders.resumable, folders.uploads, expiry_s=60, most=5, most_bytes=1 << 20)
    eraser = Eraser(
        holdings, secret, Audit(holdings.engine, secret), Holds(holdings.engine), uploads,
        beside=tmp_path / "erased",
    )  # fmt: skip
    export(holdings, Audit(holdings.engine, secret), eraser.select("job", one.id), tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert sum(name.startswith(f"{one.id}/stems/") for name in archive.namelist()) == 4
        assert archive.read(f"{one.id}/recording/my song.wav")[:4] == b"RIFF"
    eraser.erase(eraser.select("job", one.id), "admin")
    assert list(what_is_left(holdings, [one.id])) == []
    assert one.id not in Shared(storages[0]).jobs() and two.id in Shared(storages[0]).jobs()
    (again,) = scrub(vault, list(standing([holdings.tombstones]).values()), secret, tmp_path)
    with vault.opened(again) as stream:
        held = stream.read()
    assert one.id.encode() + b"/manifest.json" not in held and two.id.encode() + b"/manifest.json" in held
    assert verify(holdings).faults == []
    artifact = read_result(folders, two.id).artifacts[0]
    assert artifact_file(folders, two.id, artifact).size() == artifact.bytes
    assert DataKeys(holdings.engine, MasterKeys([OLD])).get(one.id) is None
