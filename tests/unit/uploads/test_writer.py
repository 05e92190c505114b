"""One upload's file: one writer at a time, and no byte that nobody sent."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest

from api.errors import ChecksumMismatch, PayloadTooLarge, UploadBusy, UploadUnknown
from api.uploads.writer import Checksum, Writer, offset_of
from pipeline.errors import DiskFull


def sha1(content: bytes) -> Checksum:
    return Checksum("sha1", hashlib.sha1(content, usedforsecurity=False).digest())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").touch()
    return tmp_path


def test_bytes_are_appended_piece_by_piece(folder: Path) -> None:
    for piece in (b"01234", b"56789"):
        writer = Writer(folder, 10)
        writer.begin(None)
        writer.write(piece)
        writer.finish()
        writer.close()
    assert (folder / "data").read_bytes() == b"0123456789"
    assert offset_of(folder) == 10


def test_there_is_one_writer_at_a_time(folder: Path) -> None:
    writer = Writer(folder, 10)
    with pytest.raises(UploadBusy):
        Writer(folder, 10)
    writer.close()
    Writer(folder, 10).close()


def test_a_writer_that_dies_gives_its_right_away_and_its_bytes_count(folder: Path) -> None:
    child = os.fork()
    if child == 0:
        Writer(folder, 10).write(b"01234")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    writer = Writer(folder, 10)
    assert writer.offset == 5
    writer.close()


def test_more_than_was_stated_is_refused_and_nothing_of_it_taken(folder: Path) -> None:
    writer = Writer(folder, 10)
    writer.write(b"01234")
    with pytest.raises(PayloadTooLarge):
        writer.write(b"567890")
    writer.close()
    assert (folder / "data").read_bytes() == b"01234"


def test_a_piece_that_is_what_its_checksum_says_counts(folder: Path) -> None:
    writer = Writer(folder, 10)
    writer.begin(sha1(b"0123456789"))
    writer.write(b"01234")
    assert offset_of(folder) == 0  # Not before all of it is here.
    writer.write(b"56789")
    writer.finish()
    writer.close()
    assert offset_of(folder) == 10
    assert [path.name for path in folder.iterdir()] == ["data"]


def test_nothing_is_kept_of_a_piece_that_is_something_else(folder: Path) -> None:
    writer = Writer(folder, 10)
    writer.write(b"01")
    writer.begin(sha1(b"other"))
    writer.write(b"23456")
    with pytest.raises(ChecksumMismatch):
        writer.finish()
    writer.close()
    assert ((folder / "data").read_bytes(), offset_of(folder)) == (b"01", 2)


def test_nothing_is_kept_of_half_a_piece_with_a_checksum(folder: Path) -> None:
    writer = Writer(folder, 10)
    writer.begin(sha1(b"0123456789"))
    writer.write(b"01234")
    writer.close()
    assert ((folder / "data").read_bytes(), offset_of(folder)) == (b"", 0)


def test_nothing_is_kept_of_half_a_piece_with_a_checksum_when_the_writer_dies(folder: Path) -> None:
    child = os.fork()
    if child == 0:
        writer = Writer(folder, 10)
        writer.write(b"01")
        writer.begin(sha1(b"23456789"))
        writer.write(b"2345")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert ((folder / "data").read_bytes(), offset_of(folder)) == (b"012345", 2)
    writer = Writer(folder, 10)
    assert writer.offset == 2
    writer.write(b"xy")
    writer.close()
    assert (folder / "data").read_bytes() == b"01xy"


def test_an_upload_that_was_removed_has_no_writer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "data").unlink()
    with pytest.raises(UploadUnknown):
        Writer(folder, 10)
    # Removed, and another begun in its place, between being opened and being locked.
    (folder / "data").touch()
    (folder / "other").touch()
    opened: Any = os.open

    def overtaken(*args: Any) -> int:
        fd: int = opened(*args)
        (folder / "other").rename(folder / "data")
        return fd

    monkeypatch.setattr(os, "open", overtaken)
    with pytest.raises(UploadUnknown):
        Writer(folder, 10)


def test_what_fits_on_a_full_disk_is_kept(folder: Path) -> None:
    child = os.fork()
    if child == 0:
        # A limit of this process's files ends a write as a full disk does: after a part of it.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4, resource.RLIM_INFINITY))
        writer = Writer(folder, 10)
        try:
            writer.write(b"0123456789")
        except DiskFull:
            writer.close()
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    writer = Writer(folder, 10)
    assert writer.offset == 4
    writer.write(b"456789")
    writer.close()
    assert (folder / "data").read_bytes() == b"0123456789"
