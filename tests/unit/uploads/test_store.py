"""Uploads on disk: whose they are, how long they stay, how they become jobs."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from api.errors import Gone, QuotaExceeded, StorageFull, UploadUnfinished, UploadUnknown
from api.uploads.store import Uploads
from pipeline.errors import DiskFull
from tests.guarded_app import run_together

DAY_S = 86400.0
NOBODY_S = "5f0c2a52-aaaa-4000-8000-000000000001"


def test_a_new_upload_is_empty_and_knows_what_it_is_to_be(shelf: Any) -> None:
    made = shelf.uploads.create("alice", 10, "söng.wav", "filename c8O2bmcud2F2", print)
    assert shelf.uploads.get("alice", made.id) == made
    assert (made.filename, made.metadata) == ("söng.wav", "filename c8O2bmcud2F2")
    assert (made.offset, made.length, made.finished) == (0, 10, False)
    assert (made.expires_at - made.created_at).total_seconds() == pytest.approx(DAY_S, abs=2)


def test_an_upload_of_nothing_is_finished_at_once(shelf: Any) -> None:
    assert shelf.uploads.get("alice", shelf.begun(length=0)).finished


def test_an_upload_is_its_owner_s_alone(shelf: Any) -> None:
    upload_id = shelf.sent(b"0123456789")
    for ask in (shelf.uploads.get, shelf.uploads.open, lambda *who: shelf.uploads.take(*who).__enter__()):
        with pytest.raises(UploadUnknown):
            ask("bob", upload_id)
    shelf.uploads.remove("bob", upload_id)
    assert shelf.uploads.get("alice", upload_id).finished
    assert shelf.uploads.of("bob") == []


@pytest.mark.parametrize("owner", ["../alice", "a/b", ".", "", "x" * 500, "ä\N{SNOWMAN}"])
def test_any_name_is_an_owner_s(shelf: Any, owner: str) -> None:
    upload_id = shelf.begun(owner)
    assert [upload.id for upload in shelf.uploads.of(owner)] == [upload_id]
    assert shelf.place(upload_id).parent.parent == shelf.folder


@pytest.mark.parametrize(
    "upload_id",
    ["", ".", "..", "../x", "/etc/passwd", "%2e%2e", "x\0", NOBODY_S, NOBODY_S.upper(),
     "{}/data", "{}/../{}", "{}\n"],
)  # fmt: skip
def test_an_id_that_is_none_is_unknown(shelf: Any, upload_id: str) -> None:
    real = shelf.sent(b"0123456789")
    with pytest.raises(UploadUnknown):
        shelf.uploads.get("alice", upload_id.format(real, real))
    with pytest.raises(UploadUnknown):
        shelf.uploads.remove("alice", upload_id.format(real, real)) or shelf.uploads.get("alice", upload_id)
    assert shelf.uploads.get("alice", real).finished


def test_an_owner_may_have_so_many_uploads(shelf: Any) -> None:
    ids = [shelf.begun() for _ in range(3)]
    with pytest.raises(QuotaExceeded):
        shelf.begun()
    shelf.begun("bob")
    shelf.uploads.remove("alice", ids[0])
    shelf.begun()


def test_an_owner_may_have_so_many_bytes_in_uploads(shelf: Any) -> None:
    shelf.begun(length=1 << 19)
    with pytest.raises(QuotaExceeded):
        shelf.begun(length=(1 << 19) + 1)
    shelf.begun(length=1 << 19)


def test_many_at_once_do_not_get_past_the_share(shelf: Any) -> None:
    refused: list[QuotaExceeded] = []

    def begin() -> None:
        try:
            shelf.another().create("alice", 1, "a", "", lambda _: None)
        except QuotaExceeded as exc:
            refused.append(exc)

    run_together(begin, 8)
    assert (len(refused), len(shelf.uploads.of("alice"))) == (5, 3)


def test_room_is_asked_for_what_is_still_to_come_of_all(shelf: Any) -> None:
    shelf.sent(b"0123", length=10)
    shelf.begun("bob", 100)
    asked: list[int] = []
    shelf.uploads.create("carol", 1000, "a", "", asked.append)
    assert asked == [6 + 100 + 1000]


def test_nothing_is_left_of_an_upload_that_was_not_admitted(shelf: Any) -> None:
    def refuse(_size: int) -> None:
        raise StorageFull("Full.")

    with pytest.raises(StorageFull):
        shelf.begun(admit=refuse)
    assert shelf.left() == []


def test_an_upload_expires_a_while_after_its_last_byte(shelf: Any) -> None:
    upload_id = shelf.begun()
    os.utime(shelf.place(upload_id) / "data", (time.time() - 1000,) * 2)
    shelf.late_s = DAY_S - 1001
    assert shelf.uploads.sweep() == 0
    shelf.late_s = DAY_S - 999
    for ask in (shelf.uploads.get, shelf.uploads.open):
        with pytest.raises(Gone):
            ask("alice", upload_id)
    assert shelf.uploads.of("alice") == []
    assert shelf.uploads.sweep() == 1
    assert shelf.left() == []
    with pytest.raises(UploadUnknown):
        shelf.uploads.get("alice", upload_id)


def test_a_finished_upload_that_nobody_claims_expires_too(shelf: Any) -> None:
    shelf.sent(b"0123456789")
    shelf.late_s = DAY_S + 1
    assert (shelf.uploads.sweep(), shelf.left()) == (1, [])


def test_an_upload_does_not_expire_by_a_clock_that_is_not_believed(shelf: Any) -> None:
    upload_id = shelf.begun()
    shelf.late_s = 365 * DAY_S
    assert shelf.uploads.sweep(datetime.now(UTC)) == 0
    shelf.late_s = 0.0
    assert shelf.uploads.get("alice", upload_id).offset == 0


def test_an_upload_that_is_being_sent_does_not_expire(shelf: Any) -> None:
    writer = shelf.uploads.open("alice", shelf.begun())
    shelf.late_s = DAY_S + 1
    assert shelf.uploads.sweep() == 0
    writer.close()
    assert shelf.uploads.sweep() == 1


def test_what_was_being_made_or_removed_when_the_service_died_is_swept(shelf: Any) -> None:
    upload_id = shelf.sent(b"0123456789")
    home = shelf.place(upload_id).parent
    for name in (".new-1", ".gone-1"):
        (home / name).mkdir()
        (home / name / "data").write_bytes(b"half")
    shelf.uploads.sweep()
    assert shelf.left() == sorted([home.name, upload_id, "data", "upload.json"])


def test_a_job_is_made_of_a_finished_upload(shelf: Any, tmp_path: Path) -> None:
    upload_id = shelf.sent(b"0123456789")
    with shelf.uploads.take("alice", upload_id) as taken:
        assert (taken.filename, taken.bytes) == ("song.wav", 10)
        assert taken.path.read_bytes() == b"0123456789"
        taken.path.rename(tmp_path / "input")
    assert (tmp_path / "input").read_bytes() == b"0123456789"
    shelf.uploads.sweep()
    assert shelf.left() == []


def test_an_upload_is_as_before_when_its_job_is_refused(shelf: Any, tmp_path: Path) -> None:
    upload_id = shelf.sent(b"0123456789")
    for moved in (False, True):
        with pytest.raises(ZeroDivisionError), shelf.uploads.take("alice", upload_id) as taken:
            if moved:
                taken.path.rename(tmp_path / "input")
                (tmp_path / "input").unlink()
            raise ZeroDivisionError
    with shelf.uploads.take("alice", upload_id) as taken:
        assert taken.path.read_bytes() == b"0123456789"


def test_no_job_is_made_of_half_an_upload(shelf: Any) -> None:
    upload_id = shelf.sent(b"0123", length=10)
    with pytest.raises(UploadUnfinished), shelf.uploads.take("alice", upload_id):
        pass
    assert shelf.uploads.get("alice", upload_id).offset == 4


def test_an_upload_that_is_looked_at_while_it_goes_is_there_or_not(shelf: Any) -> None:
    ids = [shelf.begun() for _ in range(3)]
    done = threading.Event()
    seen: list[Exception] = []

    def look() -> None:
        while not done.is_set():
            try:
                shelf.uploads.of("alice")
                shelf.uploads.get("alice", ids[0])
            except UploadUnknown:
                continue
            except Exception as exc:
                seen.append(exc)

    thread = threading.Thread(target=look)
    thread.start()
    for upload_id in ids:
        shelf.uploads.remove("alice", upload_id)
    shelf.uploads.sweep()
    done.set()
    thread.join()
    assert not seen


def test_a_full_disk_refuses_an_upload_and_keeps_nothing(shelf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(DiskFull):
            shelf.begun()
    assert [name for name in shelf.left() if "-" in name] == []


def test_two_processes_see_the_same(shelf: Any) -> None:
    other: Uploads = shelf.another()
    upload_id = shelf.sent(b"0123456789")
    assert other.get("alice", upload_id).finished
    other.remove("alice", upload_id)
    assert shelf.uploads.of("alice") == []
