"""Jobs whose files are encrypted: erased, backed up, restored, exported, and shared by machines."""

from __future__ import annotations

import shutil
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from api.audit import Audit
from api.encryption.data_keys import has_key
from api.encryption.errors import DataKeyGone, EncryptedFileDamaged, MasterKeyMissing
from api.encryption.file_format import encrypted_size, is_encrypted
from api.encryption.master_keys import MasterKeys
from api.jobs.folders import Folders
from api.jobs.model import Job
from api.jobs.results import artifact_file, is_whole, read_result
from api.jobs.shared import Shared
from api.jobs.sql_store import SqlJobStore
from api.jobs.store import JobFilter
from api.jobs.worker import Outcome, attempt
from api.keeping.backup import back_up
from api.keeping.drill import drill
from api.keeping.erasure import Eraser, what_is_left
from api.keeping.holdings import Holdings
from api.keeping.holds import Holds
from api.keeping.portability import export
from api.keeping.restore import restore
from api.keeping.scrub import scrub
from api.keeping.tombstones import standing
from api.keeping.vault import FolderVault
from api.keeping.verify import verify
from api.security.secret import ServerSecret
from api.storage.base import Storage
from api.storage.disk import DiskStorage
from api.storage.s3 import S3Storage
from api.uploads.store import Uploads
from tests.encryption_support import NEW, OLD, encrypting, places
from tests.s3_server import BUCKET, s3_server
from tests.worker_support import (
    claimed,
    made,
    open_store,
    submit,
    worker_config,
)


def eraser_of(holdings: Holdings, secret: ServerSecret) -> Eraser:
    folders = holdings.folders
    uploads = Uploads(folders.resumable, folders.uploads, expiry_s=60, most=5, most_bytes=1 << 20)
    return Eraser(
        holdings, secret, Audit(holdings.engine, secret), Holds(holdings.engine), uploads,
        beside=folders.data.parent / "erased",
    )  # fmt: skip


def test_with_the_key_a_job_is_erased_in_live_data_and_in_every_backup(
    holdings: Holdings, job: Job, secret: ServerSecret, tmp_path: Path, original: Path
) -> None:
    folders, vault = holdings.folders, FolderVault(tmp_path / "backups")
    kept = tmp_path / "a copy that nobody knows of"
    shutil.copytree(folders.result(job.id), kept)
    stored = back_up(holdings, vault, "full").stored
    assert has_key(holdings.engine, job.id)
    eraser = eraser_of(holdings, secret)
    eraser.erase(eraser.select("job", job.id), "admin")
    assert not has_key(holdings.engine, job.id) and list(what_is_left(holdings, [job.id])) == []
    with pytest.raises(DataKeyGone):
        (folders.stored_result(job.id).at(kept) / "manifest.json").read()
    assert [
        one.name for one in scrub(vault, list(standing([holdings.tombstones]).values()), secret, tmp_path)
    ] == [stored.name]

    place = Folders.below(tmp_path / "restored")
    url = f"sqlite:///{place.data / 'pipeline.db'}"
    restore(vault, place, url, lambda: secret)
    store = open_store(place)
    again = Holdings(store._engine, store, encrypting(place, store._engine))
    assert not has_key(store._engine, job.id) and verify(again).faults == []
    with pytest.raises(DataKeyGone):
        (again.folders.stored_result(job.id).at(kept) / "manifest.json").read()
    waiting = next(one for one in store.find(JobFilter()) if not one.status.final)
    assert again.folders.stored_input(waiting.id).read() == (original / "2.wav").read_bytes()
    store._engine.dispose()


def test_backups_are_encrypted_and_a_drill_reads_them_with_the_master_key(
    holdings: Holdings, job: Job, secret: ServerSecret, tmp_path: Path, original: Path
) -> None:
    vault = FolderVault(tmp_path / "backups")
    back_up(holdings, vault, "full")
    heard = (original / "1.wav").read_bytes()
    assert places(vault.folder, heard[5000:5040], heard[-400:-360], b"fLaC") == []
    masters = MasterKeys([NEW, OLD])
    drilled = drill(vault, tmp_path, tmp_path / "drill.json", lambda _: secret, masters=masters)
    assert drilled.passed and drilled.verified.files == 7
    with pytest.raises(MasterKeyMissing):
        drill(vault, tmp_path, tmp_path / "drill.json", lambda _: secret)


def test_what_is_exported_for_a_person_is_in_the_clear(
    holdings: Holdings, job: Job, secret: ServerSecret, tmp_path: Path, original: Path
) -> None:
    eraser = eraser_of(holdings, secret)
    export(holdings, Audit(holdings.engine, secret), eraser.select("job", job.id), tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        (name,) = [name for name in archive.namelist() if "/recording/" in name]
        assert archive.read(name) == (original / "1.wav").read_bytes()
        assert b'"schema_version"' in archive.read(f"{job.id}/manifest.json")


@pytest.fixture(params=["disk", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    if request.param == "disk":
        disk = DiskStorage(tmp_path / "volume")
        disk.create()
        yield disk
    else:
        with s3_server() as endpoint:
            yield S3Storage(BUCKET, "encrypted", endpoint=endpoint)


def test_machines_that_share_a_storage_share_what_is_encrypted(
    storage: Storage, original: Path, tmp_path: Path
) -> None:
    front, worker, other = (made(tmp_path / name) for name in ("front", "worker", "other"))
    store: SqlJobStore = open_store(front)
    front, worker, other = (
        replace(encrypting(one, store._engine), shared=Shared(storage)) for one in (front, worker, other)
    )
    job = submit(store, front, original / "1.wav")
    assert front.shared is not None and other.shared is not None
    front.shared.keep_input(job.id, front.input(job))
    ours = attempt(store, worker, worker_config(), threading.Event(), claimed(store))
    assert ours is Outcome.SUCCEEDED and is_whole(other, job.id)
    for artifact in read_result(other, job.id).artifacts:
        file = artifact_file(other, job.id, artifact)
        assert is_encrypted(file.path) and len(file.read()) == artifact.bytes
    first = read_result(other, job.id).artifacts[0]
    shutil.rmtree(other.result(job.id))
    (tmp_path / "wrong").write_bytes(b"\x89APENC1\n" + bytes(encrypted_size(first.bytes) - 8))
    storage.put(f"outputs/{job.id}/{first.sha256[:16]}/{first.path}", tmp_path / "wrong")
    with pytest.raises(EncryptedFileDamaged):
        artifact_file(other, job.id, first)
    assert not (other.result(job.id) / first.path).exists()
    store._engine.dispose()
