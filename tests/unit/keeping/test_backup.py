from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.audit import Audit
from api.database import open_database
from api.errors import StorageUnavailable
from api.jobs.folders import Folders
from api.jobs.model import JobStatus
from api.jobs.results import manifest_sum
from api.jobs.sql_store import SqlJobStore
from api.jobs.store import JobFilter
from api.keeping.archive import Kind, read
from api.keeping.backup import Tiers, back_up
from api.keeping.drill import drill
from api.keeping.errors import BackupDamaged, BackupRunning, BackupUnknown, PlaceOccupied, RestoreUnfinished
from api.keeping.holdings import Holdings
from api.keeping.restic import ResticVault
from api.keeping.restore import Restored, refuse_unfinished, restore
from api.keeping.vault import FolderVault, Stored, Vault, outdated
from api.keeping.verify import Fault, verify
from api.security.secret import ServerSecret, load_secret
from api.settings import Settings
from pipeline.errors import DiskFull
from tests import postgres
from tests.faults.small_disk import on_a_small_disk
from tests.service import ROOT
from tests.worker_support import open_store


@pytest.fixture(params=["folder", pytest.param("restic", marks=pytest.mark.slow)])
def vault(request: pytest.FixtureRequest, tmp_path: Path) -> Vault:
    if request.param == "restic":
        return ResticVault(str(tmp_path / "repository"), "a password of the tests")
    return FolderVault(tmp_path / "backups")


@pytest.fixture
def plain(tmp_path: Path) -> FolderVault:
    return FolderVault(tmp_path / "backups")


def secret_of(folders: Folders) -> ServerSecret:
    return load_secret(Settings(data_dir=folders.data))


def restored_to(vault: Vault, place: Path, at: datetime | None = None) -> tuple[Holdings, Restored]:
    folders = Folders.below(place)
    url = f"sqlite:///{place / 'pipeline.db'}"
    came = restore(vault, folders, url, lambda: secret_of(folders), at=at)
    store = open_store(folders)
    return Holdings(store._engine, store, folders), came


def succeeded(holdings: Holdings) -> str:
    return holdings.store.find(JobFilter(statuses=(JobStatus.SUCCEEDED,)))[0].id


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_was_backed_up_comes_back_byte_for_byte(
    holdings: Holdings, vault: Vault, tmp_path: Path
) -> None:
    done = back_up(holdings, vault, "full")
    back, came = restored_to(vault, tmp_path / "place")
    for name in ("outputs", "uploads"):
        assert contents(back.folders.data / name) == contents(holdings.folders.data / name)
    assert (came.jobs, came.unfinished, came.incomplete, came.stored) == (3, 1, 0, done.stored)
    assert verify(back).faults == []
    assert list(back.store.find(JobFilter())) == list(holdings.store.find(JobFilter()))
    assert Audit(back.engine, secret_of(back.folders)).verify().broken_at is None
    claim = back.store.claim("worker", 30.0)
    assert claim is not None, "the job that waited goes on"


def test_a_database_on_a_server_is_restored_into_and_backed_up(
    holdings: Holdings, plain: FolderVault, tmp_path: Path
) -> None:
    back_up(holdings, plain, "full")
    with postgres.database() as url:
        folders = Folders.below(tmp_path / "server")
        restore(plain, folders, url, lambda: secret_of(folders))
        engine = open_database(url)
        served = Holdings(engine, SqlJobStore(engine), folders)
        assert verify(served).faults == []
        assert Audit(engine, secret_of(folders)).verify().broken_at is None
        back_up(served, FolderVault(tmp_path / "of the server"), "full")
        back, came = restored_to(FolderVault(tmp_path / "of the server"), tmp_path / "place")
        assert (came.jobs, came.unfinished, came.incomplete) == (3, 1, 0)
        assert list(back.store.find(JobFilter())) == list(served.store.find(JobFilter()))
        assert list(back.store.find(JobFilter())) == list(holdings.store.find(JobFilter()))
        assert served.store.claim("worker", 30.0) is not None, "the job that waited goes on"
        with pytest.raises(PlaceOccupied):
            elsewhere = Folders.below(tmp_path / "elsewhere")
            restore(plain, elsewhere, url, lambda: secret_of(elsewhere))
        engine.dispose()


def test_a_backup_of_manifests_holds_no_audio_but_what_waits(holdings: Holdings, plain: FolderVault) -> None:
    done = back_up(holdings, plain, "manifests")
    kinds = {held.path.split("/")[0] for held in done.contents.files}
    assert kinds == {"database", "secret", "outputs", "uploads"}
    assert {held.path.rpartition("/")[2] for held in done.contents.files if held.path[:3] == "out"} == {
        "manifest.json"
    }
    assert sum(held.path.startswith("uploads/") for held in done.contents.files) == 1


def test_a_restore_takes_audio_from_the_full_backup_before(
    holdings: Holdings, plain: FolderVault, tmp_path: Path
) -> None:
    back_up(holdings, plain, "full")
    holdings.store.mark(succeeded(holdings), JobStatus.EXPIRED)
    back_up(holdings, plain, "manifests")
    back, came = restored_to(plain, tmp_path / "place")
    assert came.base is not None and came.base.kind == "full" and came.incomplete == 0
    assert verify(back).faults == [], "and what has expired since does not come back"


def test_a_restore_can_go_back_to_a_time(holdings: Holdings, plain: FolderVault, tmp_path: Path) -> None:
    first = back_up(holdings, plain, "full").stored
    back_up(holdings, plain, "full", now=lambda: datetime.now(UTC) + timedelta(hours=1))
    _, came = restored_to(plain, tmp_path / "place", at=datetime.now(UTC) + timedelta(minutes=1))
    assert came.stored == first
    with pytest.raises(BackupUnknown):
        restored_to(plain, tmp_path / "other", at=datetime(2020, 1, 1, tzinfo=UTC))


def test_nothing_is_restored_over_something(holdings: Holdings, plain: FolderVault, tmp_path: Path) -> None:
    back_up(holdings, plain, "full")
    for name in ("pipeline.db", "outputs/job/manifest.json", "uploads/job/input"):
        there = tmp_path / name.replace("/", "-") / name
        there.parent.mkdir(parents=True)
        there.write_bytes(b"mine")
        with pytest.raises(PlaceOccupied):
            restored_to(plain, tmp_path / name.replace("/", "-"))
        assert there.read_bytes() == b"mine"


def test_a_backup_that_was_changed_anywhere_is_found(holdings: Holdings, plain: FolderVault) -> None:
    stored = back_up(holdings, plain, "full").stored
    path = plain.folder / stored.name
    whole = path.read_bytes()
    rng = random.Random(7)
    for _ in range(12):
        at = rng.randrange(10, len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1 :])
        try:
            with plain.opened(stored) as stream:
                read(stream)
        except BackupDamaged:
            continue
        with gzip.open(path) as changed, gzip.open(io.BytesIO(whole)) as unchanged:
            assert changed.read() == unchanged.read(), "a header of gzip: nothing of it is data"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BackupDamaged), plain.opened(stored) as stream:
        read(stream)


@pytest.mark.parametrize("name", ["../evil", "outputs/a/../../evil", "/etc/evil", "outputs/a/b/../c", "x.db"])
def test_a_backup_can_write_nowhere_else(plain: FolderVault, tmp_path: Path, name: str) -> None:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(BackupDamaged, match="no backup holds"):
        read(io.BytesIO(tar.getvalue()), lambda *_: pytest.fail("it was taken"))


def test_a_tar_of_others_is_read_with_common_tools(holdings: Holdings, plain: FolderVault) -> None:
    done = back_up(holdings, plain, "full")
    listed = subprocess.run(
        ["tar", "-tzf", str(plain.folder / done.stored.name)], capture_output=True, text=True, check=True
    )
    assert listed.stdout.split("\n")[:-1] == [held.path for held in done.contents.files] + ["backup.json"]


KILLED = """
import os, sys
from pathlib import Path
from api.database import open_database
from api.jobs.folders import Folders
from api.jobs.sql_store import SqlJobStore
from api.keeping.backup import back_up
from api.keeping.holdings import Holdings
from api.keeping.vault import FolderVault
data = Path(sys.argv[1])
engine = open_database(f"sqlite:///{data / 'pipeline.db'}")
back_up(Holdings(engine, SqlJobStore(engine), Folders.below(data)), FolderVault(Path(sys.argv[2])), "full")
"""


@pytest.mark.parametrize(
    "call",
    [
        "rename",
        pytest.param("fsync", marks=pytest.mark.slow),
        pytest.param("fadvise64", marks=pytest.mark.slow),
    ],
)
def test_a_backup_that_is_killed_leaves_none_that_looks_whole(
    holdings: Holdings, plain: FolderVault, call: str
) -> None:
    inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={call}:signal=SIGKILL:when=1"]
    argv = [sys.executable, "-c", KILLED, str(holdings.folders.data), str(plain.folder)]
    killed = subprocess.run([*inject, *argv], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert killed.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
    assert plain.backups() == []
    back_up(holdings, plain, "full")
    assert [path.name for path in plain.folder.iterdir() if path.name != ".lock"] == [plain.backups()[0].name]


def test_a_restore_that_did_not_end_lets_nothing_start_and_is_begun_again(
    holdings: Holdings, plain: FolderVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(holdings, plain, "full")
    place = tmp_path / "place"

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("api.keeping.restore._put_in_place", crash)
        restored_to(plain, place)
    with pytest.raises(RestoreUnfinished):
        refuse_unfinished(place)
    back, _ = restored_to(plain, place)
    refuse_unfinished(place)
    assert verify(back).faults == []


def test_two_backups_at_once_are_one_too_many(holdings: Holdings, plain: FolderVault) -> None:
    with plain._turn(), pytest.raises(BackupRunning):
        back_up(holdings, plain, "manifests")


def test_a_disk_that_is_away_is_no_empty_service(holdings: Holdings, plain: FolderVault) -> None:
    shutil.rmtree(holdings.folders.outputs)
    holdings.folders.outputs.mkdir()
    with pytest.raises(StorageUnavailable):
        back_up(holdings, plain, "full")
    assert plain.backups() == []


def stored(day: datetime, kind: Kind = "full") -> Stored:
    return Stored(f"{kind} {day:%F}", kind, day, 1)


def test_every_backup_stays_for_a_month_and_the_last_of_each_month_for_a_year() -> None:
    now = datetime(2026, 11, 28, tzinfo=UTC)
    backups = [stored(now - timedelta(days=days)) for days in range(0, 800)]
    gone = {one.name for one in outdated(backups, now, days=30, monthly_days=365)}
    kept = [one for one in backups if one.name not in gone]
    assert [one for one in kept if now - one.created_at <= timedelta(days=30)] == backups[:31]
    older = [one.created_at for one in kept[31:]]
    assert len(older) == 11 and all((at + timedelta(days=1)).day == 1 for at in older[1:])
    assert outdated([stored(datetime(2020, 1, 1, tzinfo=UTC))], now, days=30, monthly_days=365) == []


def test_old_backups_go_when_a_new_one_is_there(holdings: Holdings, vault: Vault) -> None:
    old = datetime.now(UTC) - timedelta(days=500)
    for days in (0, 1):
        back_up(holdings, vault, "manifests", now=lambda days=days: old + timedelta(days=days))
    done = back_up(holdings, vault, "manifests", Tiers(30, 365))
    assert len(done.removed) == 2 and [one.name for one in vault.backups()] == [done.stored.name]


@pytest.mark.parametrize(
    ("harm", "fault"),
    [
        (lambda job: (job / "stems" / "drums.flac").unlink(), "missing"),
        (lambda job: (job / "stems" / "drums.flac").write_bytes(b"x"), "changed"),
        (lambda job: (job / "manifest.json").unlink(), "missing"),
        (lambda job: (job / "manifest.json").write_text("{}"), "changed"),
        (lambda job: (job / "stems" / "more").write_text("?"), "unlisted"),
        (lambda job: shutil.copytree(job, job.with_name("nobody")), "orphan"),
    ],
)
def test_a_verification_finds_what_is_wrong(holdings: Holdings, harm: object, fault: str) -> None:
    assert verify(holdings).faults == []
    harm(holdings.folders.result(succeeded(holdings)))  # type: ignore[operator]
    assert {one.problem for one in verify(holdings).faults} == {fault}


def test_a_verification_finds_a_recording_that_was_lost(holdings: Holdings) -> None:
    (waiting,) = holdings.store.find(JobFilter(statuses=(JobStatus.QUEUED,)))
    holdings.folders.input(waiting).unlink()
    assert verify(holdings).faults == [Fault(f"uploads/{waiting.id}/input", "missing", waiting.id)]


def test_a_drill_measures_and_leaves_nothing(holdings: Holdings, vault: Vault, tmp_path: Path) -> None:
    back_up(holdings, vault, "full")
    drilled = drill(vault, tmp_path / "scratch", tmp_path / "drill-status.json", secret_of)
    assert drilled.passed and drilled.verified.jobs == 3
    assert 0 < drilled.verified.seconds < drilled.rto_s and 0 < drilled.rpo_s <= drilled.worst_rpo_s
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_drill_without_a_full_backup_says_so_and_passes(
    holdings: Holdings, plain: FolderVault, tmp_path: Path
) -> None:
    back_up(holdings, plain, "manifests")
    drilled = drill(plain, tmp_path / "scratch", tmp_path / "drill-status.json", secret_of)
    assert drilled.passed and drilled.restored.incomplete == 2 and drilled.tolerated > 0


def test_a_repository_gives_back_what_it_was_given(holdings: Holdings, tmp_path: Path) -> None:
    vault = ResticVault(str(tmp_path / "repository"), "a password of the tests")
    done = back_up(holdings, vault, "full")
    with vault.opened(done.stored) as stream:
        assert read(stream) == done.contents
    assert vault.backups() == [done.stored]


@pytest.mark.slow
def test_a_repository_says_nothing_to_who_has_no_password(holdings: Holdings, tmp_path: Path) -> None:
    right = ResticVault(str(tmp_path / "repository"), "right and secret")
    back_up(holdings, right, "full")
    with pytest.raises(Exception, match="restic failed") as refused:
        ResticVault(str(tmp_path / "repository"), "wrong and secret").backups()
    assert "secret" not in str(refused.value)
    stored = b"".join(path.read_bytes() for path in (tmp_path / "repository").rglob("*") if path.is_file())
    assert b"secret song" not in stored and b"fLaC" not in stored


def test_a_disk_that_fills_up_costs_no_older_backup(holdings: Holdings, tmp_path: Path) -> None:
    data = holdings.folders.data

    def fill(disk: Path) -> None:
        store = open_store(Folders.below(data))
        small, vault = Holdings(store._engine, store, Folders.below(data)), FolderVault(disk)
        first = back_up(small, vault, "manifests").stored
        (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free - 20_000))
        with pytest.raises(DiskFull):
            back_up(small, vault, "full")
        assert vault.backups() == [first] and not list(disk.glob(".partial*"))
        with vault.opened(first) as stream:
            read(stream)

    on_a_small_disk(tmp_path / "disk", "2m", fill)


@pytest.mark.slow
def test_every_byte_is_accounted_for_after_200_random_faults(
    holdings: Holdings, secret: ServerSecret
) -> None:
    audit, rng, folders = Audit(holdings.engine, secret), random.Random(9), holdings.folders
    for job in holdings.store.find(JobFilter(statuses=(JobStatus.SUCCEEDED,))):
        audit.record(
            "job.end", user="o", status="succeeded", output=manifest_sum(folders, job.id), job_id=job.id
        )
    files = sorted(
        path for root in (folders.outputs, folders.uploads) for path in root.rglob("*") if path.is_file()
        and not path.name.startswith(".")
    )  # fmt: skip
    assert len(files) == 13 and verify(holdings, audit).faults == []
    for number in range(200):
        path = rng.choice(files)
        whole = path.read_bytes()
        kind = rng.choice(["flip", "cut", "lose", "grow", "stray"])
        stray = path.with_name("stray")
        if kind == "flip":
            at = rng.randrange(len(whole))
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :])
        elif kind == "cut":
            path.write_bytes(whole[: rng.randrange(len(whole))])
        elif kind == "grow":
            path.write_bytes(whole + b"\n")
        elif kind == "lose":
            path.unlink()
        elif path.is_relative_to(folders.outputs):
            stray.write_bytes(b"?")
        else:
            continue
        faults = verify(holdings, audit).faults
        job_id = path.relative_to(folders.data).parts[1]
        assert faults and {fault.job_id for fault in faults} == {job_id}, (number, kind, path)
        stray.unlink(missing_ok=True)
        path.write_bytes(whole)
    assert verify(holdings, audit).faults == []
