"""Uploads whose service is killed: in the middle of a piece, and at every step on the way to a job."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from api.client_uploads import send
from api.errors import UploadUnknown
from api.jobs.folders import Folders, incoming
from api.jobs.housekeeping import remove_incoming
from api.uploads.store import Uploads
from api.uploads.writer import Checksum
from tests.audio_files import music, write_wav
from tests.faults.service_faults import until
from tests.service import KEY, Service
from tests.tus import begun, data, half_a_piece, offset, patch, uploader
from tests.worker_support import made

MB = 1 << 20
SONG = random.Random(7).randbytes(4 * MB)
SHA1 = hashlib.sha1(SONG, usedforsecurity=False).digest()


def test_an_upload_goes_on_after_a_kill_in_the_middle_of_a_piece(tmp_path: Path) -> None:
    (tmp_path / "song.wav").write_bytes(SONG)
    service = Service(tmp_path)
    with service, service.client() as http:
        plain, summed = begun(http, len(SONG)), begun(http, len(SONG))
        checksum = f"sha1 {base64.b64encode(SHA1).decode()}"
        with (
            half_a_piece(service, plain, 0, SONG[: 3 * MB], len(SONG)),
            half_a_piece(service, summed, 0, SONG[: 3 * MB], len(SONG), **{"Upload-Checksum": checksum}),
        ):
            deadline = time.monotonic() + 60
            while min(data(tmp_path, place).stat().st_size for place in (plain, summed)) < 2 * MB:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            service.kill()
        service.start()
        # Nobody has seen whether the half with a checksum is what was sent.
        assert (offset(http, plain) >= 2 * MB, offset(http, summed)) == (True, 0)
        assert patch(http, summed, 0, SONG, **{"Upload-Checksum": checksum}).status_code == 204
        with uploader(service, tmp_path / "song.wav", url=service.url + plain, chunk_size=MB) as sent:
            sent.upload()
    assert data(tmp_path, plain).read_bytes() == data(tmp_path, summed).read_bytes() == SONG


@pytest.mark.long
def test_our_client_goes_on_when_the_service_comes_back(tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(SONG * 16)
    service, sent = Service(tmp_path), list[str]()
    with service, service.client() as http:
        thread = threading.Thread(target=lambda: sent.append(send(http, song)))
        thread.start()
        deadline = time.monotonic() + 60
        with service.client() as other:
            while not any(upload["offset"] for upload in other.get("/uploads").json()):
                assert time.monotonic() < deadline
        service.kill()
        service.start()
        thread.join()
    assert data(tmp_path, sent[0]).read_bytes() == song.read_bytes()


def test_a_service_that_starts_leaves_what_another_on_the_same_disk_receives(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "song.wav", music(1.0))
    said = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    said += path.read_bytes() + b"\r\n--b--\r\n"
    head = [
        "POST /process HTTP/1.1", "Host: service", f"X-API-Key: {KEY}", f"Content-Length: {len(said)}",
        "Content-Type: multipart/form-data; boundary=b", "Connection: close", "", "",
    ]  # fmt: skip
    uploads = tmp_path / "uploads"
    with Service(tmp_path) as service, socket.create_connection(("127.0.0.1", service.port)) as slow:
        slow.sendall("\r\n".join(head).encode() + said[:-1000])
        until(lambda: bool(list(uploads.glob(".incoming-*"))), "it comes in")
        dead = incoming(uploads)
        dead.mkdir()
        with Service(tmp_path):
            until(lambda: not dead.exists(), "the other service has looked")
            slow.sendall(said[-1000:])
            assert slow.makefile("rb").readline() == b"HTTP/1.1 202 Accepted\r\n"


def kept(folders: Folders, late_s: float = 0.0) -> Uploads:
    return Uploads(
        folders.resumable,
        folders.uploads,
        expiry_s=3600.0,
        most=10,
        most_bytes=MB,
        now=lambda: time.time() + late_s,
    )


def go_all_the_way(folders: Folders, said: Path) -> None:
    """Begin an upload, send it in two pieces, make a job of it; say what a client was told."""
    uploads = kept(folders)
    upload_id = uploads.create("alice", 10, "song.wav", "", lambda _: None).id
    said.write_text(upload_id)
    for piece in (b"01234", b"56789"):
        writer = uploads.open("alice", upload_id)
        writer.begin(Checksum("sha1", hashlib.sha1(piece, usedforsecurity=False).digest()))
        writer.write(piece)
        writer.finish()
        writer.close()
    said.write_text(f"{upload_id} finished")
    with uploads.take("alice", upload_id) as taken:
        folders.upload("job-1").mkdir()
        taken.path.rename(folders.upload("job-1") / "input")
    said.write_text(f"{upload_id} used")


def killed_at(step: int, do: Callable[[], None]) -> bool:
    """Do something in a process that is killed at one of its steps on the disk; False when it got past it."""
    child = os.fork()
    if child == 0:
        left = step

        def count(event: str, _args: object) -> None:
            nonlocal left
            if event in {"open", "shutil.rmtree", "fcntl.flock"} or event.startswith("os."):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        do()
        os._exit(0)
    return os.waitpid(child, 0)[1] != 0


def test_a_kill_at_any_step_loses_nothing_that_a_client_was_told_and_leaves_nothing(tmp_path: Path) -> None:
    step = 0
    while True:
        step += 1
        folders, said = made(tmp_path / str(step)), tmp_path / f"{step}.txt"
        if not killed_at(step, lambda: go_all_the_way(folders, said)):  # noqa: B023
            break
        remove_incoming(folders)
        uploads, job = kept(folders), folders.upload("job-1") / "input"
        uploads.sweep()
        upload_id, _, told = (said.read_text() if said.exists() else "").partition(" ")
        if upload_id:
            try:
                upload = uploads.get("alice", upload_id)
                assert upload.finished or not told
                writer = uploads.open("alice", upload_id)
                writer.write(b"0123456789"[writer.offset :])
                writer.close()
                with uploads.take("alice", upload_id) as taken:
                    assert taken.path.read_bytes() == b"0123456789"
            except UploadUnknown:
                assert job.read_bytes() == b"0123456789"
        # Also those of which nobody was told.
        kept(folders, late_s=3601).sweep()
        assert [path.name for path in folders.resumable.rglob("*")] in ([".lock"], [])
        assert not job.exists() or job.read_bytes() == b"0123456789"
    assert step > 40


@pytest.mark.parametrize("moved", [False, True])
def test_a_kill_while_a_job_is_made_leaves_the_upload_to_be_used_again(tmp_path: Path, moved: bool) -> None:
    folders = made(tmp_path)
    uploads = kept(folders)
    upload_id = uploads.create("alice", 3, "song.wav", "", lambda _: None).id
    writer = uploads.open("alice", upload_id)
    writer.write(b"abc")
    writer.close()
    child = os.fork()
    if child == 0:
        with uploads.take("alice", upload_id) as taken:
            if moved:
                taken.path.rename(tmp_path / "input")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert remove_incoming(folders) == 1
    with uploads.take("alice", upload_id) as taken:
        assert taken.path.read_bytes() == b"abc"
    assert not moved or (tmp_path / "input").read_bytes() == b"abc"
    uploads.sweep()
    assert [path.name for path in folders.resumable.rglob("*")] == [".lock"]
