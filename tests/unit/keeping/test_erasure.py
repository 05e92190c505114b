from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from api.audit import Audit
from api.errors import Conflict, LegalHold, NotFound
from api.jobs.folders import Folders
from api.jobs.model import Job, JobStatus
from api.jobs.store import JobFilter
from api.keeping.backup import back_up
from api.keeping.erasure import Eraser, what_is_left
from api.keeping.errors import ReceiptInvalid
from api.keeping.holdings import Holdings
from api.keeping.holds import Holds
from api.keeping.portability import export
from api.keeping.restore import restore
from api.keeping.scrub import scrub
from api.keeping.signatures import Signer, check_signature
from api.keeping.tombstones import standing
from api.keeping.vault import FolderVault
from api.keeping.verify import verify
from api.security.secret import ServerSecret, load_secret
from api.settings import Settings
from api.uploads.store import Uploads
from tests.worker_support import open_store


@pytest.fixture
def audit(holdings: Holdings, secret: ServerSecret) -> Audit:
    return Audit(holdings.engine, secret)


@pytest.fixture
def eraser(holdings: Holdings, secret: ServerSecret, audit: Audit, tmp_path: Path) -> Eraser:
    folders = holdings.folders
    uploads = Uploads(folders.resumable, folders.uploads, expiry_s=60, most=5, most_bytes=1 << 20)
    holds = Holds(holdings.engine)
    return Eraser(
        holdings, secret, audit, holds, uploads, beside=tmp_path / "backups" / "erased", patience_s=0.0
    )


@pytest.fixture
def vault(tmp_path: Path) -> FolderVault:
    return FolderVault(tmp_path / "backups")


def job_of(holdings: Holdings, subject: str) -> Job:
    (job,) = holdings.store.find(JobFilter(subject=subject))
    return job


def places(folder: Path, *needles: bytes) -> list[str]:
    """Files, or members of backups, in whose bytes or names one of the texts occurs."""
    found = []
    for path in (one for one in folder.rglob("*") if one.is_file()):
        for name, data in _contents(path):
            if any(needle in data or needle in name.encode() for needle in needles):
                found.append(f"{path.name} {name}")
    return found


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    yield path.name, path.read_bytes()
    if path.name.endswith(".tar.gz"):
        import tarfile

        with tarfile.open(path) as tar:
            for info in tar:
                file = tar.extractfile(info)
                assert file is not None
                yield info.name, file.read()


def test_nothing_of_a_subject_is_found_anywhere_afterwards(
    holdings: Holdings, eraser: Eraser, audit: Audit, vault: FolderVault, secret: ServerSecret, tmp_path: Path
) -> None:
    job, other = job_of(holdings, "person 1"), job_of(holdings, "person 2")
    recording = holdings.folders.input(job).read_bytes()
    stem = next((holdings.folders.result(job.id) / "stems").iterdir()).read_bytes()
    needles = (
        b"secret song 1", b"words nobody else sings 1", b"person 1", recording[2000:2400], stem[3000:3300],
        job.input_sha256.encode(),
    )  # fmt: skip
    back_up(holdings, vault, "full")
    for needle in needles:
        assert places(tmp_path, needle), "the search finds what is there"
    receipt = eraser.erase(eraser.select("subject", "person 1"), "admin")
    scrub(vault, list(standing([holdings.tombstones]).values()), secret, holdings.folders.data)
    assert places(tmp_path, *needles) == []
    assert receipt["jobs"] == [job.id] and list(what_is_left(holdings, [job.id])) == []
    assert job_of(holdings, "person 2") == other
    verdict = audit.verify()
    assert verdict.broken_at is None and verdict.erased == 1
    assert verify(holdings).faults == []
    assert (holdings.folders.data / "erased" / f"{job.id}.json").exists(), "and the stub stays"


def test_what_was_erased_does_not_come_back_with_a_backup(
    holdings: Holdings, eraser: Eraser, vault: FolderVault, tmp_path: Path
) -> None:
    job = job_of(holdings, "person 1")
    back_up(holdings, vault, "full")
    eraser.erase(eraser.select("job", job.id), "admin")
    place = Folders.below(tmp_path / "place")

    def load() -> ServerSecret:
        return load_secret(Settings(data_dir=place.data))

    came = restore(
        vault, place, f"sqlite:///{place.data / 'pipeline.db'}", load, beside=[vault.folder / "erased"]
    )
    store = open_store(place)
    back = Holdings(store._engine, store, place)
    assert came.erased_again == 1 and list(what_is_left(back, [job.id])) == []
    assert places(place.data, b"secret song 1", b"person 1", b"nobody else sings 1") == []
    assert verify(back).faults == []
    verdict = Audit(back.engine, load()).verify()
    assert (verdict.broken_at, verdict.reason) == (None, "")


def test_of_an_owner_the_name_goes_too(
    holdings: Holdings, eraser: Eraser, audit: Audit, tmp_path: Path
) -> None:
    eraser.erase(eraser.select("owner", "owner"), "admin")
    assert list(holdings.store.find(JobFilter(owner="owner"))) == []
    assert {job.status for job in holdings.store.find(JobFilter())} == {JobStatus.ERASED}
    assert {entry.user for entry in audit.entries()} == {"", "admin"}
    assert audit.verify().broken_at is None
    with pytest.raises(NotFound):
        eraser.select("subject", "person 1")


def test_an_entry_without_words_needs_an_erasure_that_explains_it(holdings: Holdings, audit: Audit) -> None:
    audit.record("process", user="u", status="accepted", input="a name", job_id="some-job")
    with holdings.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER audit_log_no_update"))
        gone = "UPDATE audit_log SET input='', output='', request_id='', what_salt='' WHERE job_id='some-job'"
        connection.execute(text(gone))
    assert audit.verify().reason == "its words were removed without an erasure"


def test_what_is_held_is_neither_erased_nor_expired(
    holdings: Holdings, eraser: Eraser, tmp_path: Path
) -> None:
    holds = Holds(holdings.engine)
    job = job_of(holdings, "person 1")
    for kind, target in (("job", job.id), ("owner", job.owner)):
        hold = holds.place(kind, target, "case 12", "admin")  # type: ignore[arg-type]
        with pytest.raises(LegalHold, match="legal hold"):
            eraser.erase(eraser.select("subject", "person 1"), "admin")
        assert holds.held()(job)
        holds.release(hold.id)
        assert not holds.held()(job)
    assert holds.find() == [] and len(holds.find(released=True)) == 2
    eraser.erase(eraser.select("subject", "person 1"), "admin")


def test_a_job_that_does_not_stop_is_not_half_erased(holdings: Holdings, eraser: Eraser) -> None:
    claim = holdings.store.claim("worker", 60.0)
    assert claim is not None
    with pytest.raises(Conflict, match="does not stop"):
        eraser.erase(eraser.select("job", claim.job.id), "admin")
    assert holdings.folders.input(claim.job).is_file()


@pytest.mark.parametrize("where", ["put", "tell", "erase", "erase_rows", "truncate_log"])
def test_an_erasure_that_is_killed_is_finished_by_the_next_housekeeping(
    holdings: Holdings, eraser: Eraser, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    job = job_of(holdings, "person 1")

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(f"api.keeping.erasure.{where}", die)
        eraser.erase(eraser.select("job", job.id), "admin")
    assert eraser.finish() == 1
    assert list(what_is_left(holdings, [job.id])) == [] and job.id in standing([holdings.tombstones])
    assert eraser.finish() == 0


def test_a_receipt_is_worth_something(holdings: Holdings, eraser: Eraser, secret: ServerSecret) -> None:
    receipt = eraser.erase(eraser.select("subject", "person 1"), "admin")
    assert "person" not in json.dumps(receipt)
    signer = Signer(secret)
    check_signature(receipt, signer.public_key)
    for name in receipt:
        with pytest.raises(ReceiptInvalid):
            check_signature({**receipt, name: "changed"}, signer.public_key)
    with pytest.raises(ReceiptInvalid):
        check_signature(receipt, Signer(ServerSecret(b"another secret of 32 bytes, long")).public_key)
    kept = json.loads((eraser.receipts / f"{receipt['id']}.json").read_bytes())
    assert kept == receipt


def test_a_subject_can_take_away_all_that_is_kept_of_it(
    holdings: Holdings, eraser: Eraser, audit: Audit, tmp_path: Path
) -> None:
    job = job_of(holdings, "person 1")
    count = export(holdings, audit, eraser.select("subject", "person 1"), tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        names = archive.namelist()
        assert len(names) == count and f"{job.id}/recording/secret song 1.wav" in names
        assert (
            archive.read(f"{job.id}/recording/secret song 1.wav") == holdings.folders.input(job).read_bytes()
        )
        assert json.loads(archive.read(f"{job.id}/job.json"))["metadata"] == job.metadata
        assert f"{job.id}/manifest.json" in names and f"{job.id}/stems/drums.flac" in names
        assert json.loads(archive.read("audit.json"))[0]["input"] == "secret song 1.wav"


def test_backups_are_written_anew_once(
    holdings: Holdings, eraser: Eraser, vault: FolderVault, secret: ServerSecret
) -> None:
    before = back_up(holdings, vault, "full").stored
    eraser.erase(eraser.select("subject", "person 1"), "admin")
    stones = list(standing([holdings.tombstones]).values())
    assert [one.name for one in scrub(vault, stones, secret, holdings.folders.data)] == [before.name]
    assert scrub(vault, stones, secret, holdings.folders.data) == []
    (after,) = vault.backups()
    assert after.created_at == before.created_at and after.bytes < before.bytes


@pytest.mark.parametrize("by", ["job", "owner", "subject"])
def test_what_nobody_knows_is_not_said_to_be_erased(eraser: Eraser, by: str) -> None:
    with pytest.raises(NotFound):
        eraser.select(by, "nobody")  # type: ignore[arg-type]
