"""Jobs whose files are encrypted: run by the real worker, read and damaged."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import httpx2 as httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from api.audit import Audit
from api.encryption.data_keys import DataKeys
from api.encryption.errors import DataKeyGone, EncryptedFileDamaged, MasterKeyMissing
from api.encryption.file_format import CHUNK, encrypted_size, is_encrypted
from api.encryption.master_keys import MasterKeys
from api.encryption.stored import Stored
from api.file_answers import FileAnswer
from api.jobs.archive import stream_zip
from api.jobs.listening import Listening
from api.jobs.model import Job
from api.jobs.peaks import peaks, stem_peaks
from api.jobs.publication import is_published
from api.jobs.results import artifact_file, is_whole, manifest_sum, read_result
from api.jobs.store import Claim, JobFilter
from api.jobs.worker import Outcome, attempt
from api.keeping.holdings import Holdings
from api.keeping.verify import verify
from api.security.secret import ServerSecret
from pipeline.codec.stretch import read_stretch
from tests.encryption_support import NEW, places
from tests.worker_support import (
    FAST,
    claimed,
    made,
    open_store,
    submit,
    taken_over,
    temporary_files,
    worker_config,
)


def recording(original: Path) -> bytes:
    return (original / "1.wav").read_bytes()


def stem(holdings: Holdings, job: Job) -> Stored:
    return artifact_file(holdings.folders, job.id, read_result(holdings.folders, job.id).artifacts[0])


def test_no_byte_of_recording_stems_or_manifest_is_to_be_seen_on_the_disk(
    holdings: Holdings, job: Job, original: Path
) -> None:
    heard, folders = recording(original), holdings.folders
    with stem(holdings, job).open() as file:
        file.seek(5000)
        sung = file.read(40)
    needles = (heard[5000:5040], heard[-400:-360], sung, b"fLaC", b"RIFF", b'"schema_version"')
    assert places(folders.outputs, *needles) == [] and places(folders.uploads, *needles) == []
    assert places(folders.data / "checkpoints", *needles) == [] and temporary_files(folders) == []
    files = [
        path for root in (folders.outputs, folders.uploads) for path in root.rglob("*") if path.is_file()
    ]
    assert len(files) == 7 and all(is_encrypted(path) for path in files)
    assert {path.stat().st_mode & 0o077 for path in files} == {0}
    assert not list(folders.separations.rglob("*.*")), "nothing is kept that other jobs would share"
    assert folders.stored_input(job.id).read() == heard


def test_everything_is_as_it_would_be_without_encryption(
    holdings: Holdings, job: Job, tmp_path: Path
) -> None:
    plain = made(tmp_path / "plain")
    store = open_store(plain)
    held = holdings.folders.stored_input(job.id).read()
    (tmp_path / "song.wav").write_bytes(held)
    submit(store, plain, tmp_path / "song.wav", id=job.id)
    attempt(store, plain, worker_config(), threading.Event(), claimed(store))
    ours, theirs = read_result(holdings.folders, job.id), read_result(plain, job.id)
    assert [one.sha256 for one in ours.artifacts] == [one.sha256 for one in theirs.artifacts]
    for one in ours.artifacts:
        encrypted, other = (artifact_file(folders, job.id, one) for folders in (holdings.folders, plain))
        assert encrypted.size() == other.size() == one.bytes
        assert encrypted.path.stat().st_size == encrypted_size(one.bytes)
        assert encrypted.read() == other.read()
        with encrypted.sounding() as readable:
            assert (
                read_stretch(readable, 1000, 5000).tobytes() == read_stretch(other.path, 1000, 5000).tobytes()
            )
    zipped = [
        b"".join(stream_zip([(a.path, artifact_file(folders, job.id, a)) for a in ours.artifacts]))
        for folders in (holdings.folders, plain)
    ]
    one, two = (zipfile.ZipFile(BytesIO(data)) for data in zipped)
    assert [one.read(name) for name in one.namelist()] == [two.read(name) for name in two.namelist()]
    drawn = [
        stem_peaks(
            artifact_file(f, job.id, ours.artifacts[0]), ours.artifacts[0], 100, f.stored_peaks(job.id)
        )
        for f in (holdings.folders, plain)
    ]
    assert drawn[0] == drawn[1]
    (cached,) = holdings.folders.peaks(job.id).iterdir()
    assert is_encrypted(cached)
    assert (
        stem_peaks(stem(holdings, job), ours.artifacts[0], 100, holdings.folders.stored_peaks(job.id))
        == drawn[0]
    )


EDGES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK)


@pytest.mark.parametrize(
    "asked",
    ["", *(f"{edge}-{edge}" for edge in EDGES), *(f"{edge}-" for edge in EDGES), "-1", f"-{CHUNK}",
     f"-{CHUNK + 1}", f"{CHUNK - 3}-{CHUNK + 3}", f"1-{2 * CHUNK}", f"0-0,{CHUNK}-{CHUNK + 9},-5"],
)  # fmt: skip
def test_every_range_is_served_as_from_a_plain_file(
    asked: str, holdings: Holdings, job: Job, tmp_path: Path
) -> None:
    content = (bytes(range(251)) * 600)[: 2 * CHUNK + 1234]
    (tmp_path / "plain").write_bytes(content)
    (tmp_path / "source").write_bytes(content)
    folders = holdings.folders
    encrypted = folders.stored_listening(job.id) / "file"
    encrypted.path.parent.mkdir(parents=True)
    encrypted.take(tmp_path / "source")
    answers = {
        "plain": Stored.plain(tmp_path / "plain"),
        "encrypted": encrypted,
    }

    def answer(request: httpx.Request) -> FileAnswer:
        stored = answers[request.path_params["name"]]  # type: ignore[attr-defined]
        return FileAnswer(stored, media_type="audio/flac", headers={"ETag": '"e"', "Last-Modified": "x"})

    client = TestClient(Starlette(routes=[Route("/{name}", answer)]))
    headers = {"Range": f"bytes={asked}"} if asked else {}
    one, two = (client.get(f"/{name}", headers=headers) for name in answers)
    boundary = one.headers["content-type"].rpartition("boundary=")[2].encode()
    other = two.headers["content-type"].rpartition("boundary=")[2].encode()
    assert one.status_code == two.status_code == (206 if asked else 200)
    assert two.content.replace(other, boundary) == one.content and len(one.content) > 0
    for name in ("content-length", "content-range", "accept-ranges", "etag"):
        assert one.headers.get(name) == two.headers.get(name)
    assert client.head("/encrypted").headers["content-length"] == str(len(content))
    assert client.get("/encrypted", headers={"If-None-Match": '"e"'}).status_code == 304


def test_what_is_heard_is_decoded_and_kept_encrypted(holdings: Holdings, job: Job) -> None:
    folders = holdings.folders
    listening = Listening(folders, FAST)
    try:
        tracks = listening.tracks(job)
        mix = listening.track(tracks, "mix")
        deadline = threading.Event()
        for _ in range(3000):
            if mix.available(tracks.samples) == tracks.samples:
                break
            deadline.wait(0.01)
        assert listening.part(tracks, mix, 0)[:4] == b"fLaC"
        assert listening.part(tracks, listening.track(tracks, "vocals"), 0)[:4] == b"fLaC"
        whole = listening.whole(job, "mix")
        assert peaks(whole, 50, folders.stored_peaks(job.id))["samples"] == tracks.samples
    finally:
        listening.close()
    parts = [path for path in folders.listening(job.id).rglob("*.flac")]
    assert (
        parts and all(is_encrypted(path) for path in parts) and places(folders.listening_root, b"fLaC") == []
    )


@pytest.mark.parametrize("where", ["header", "middle", "end", "cut", "swap", "plain"])
def test_whatever_was_done_to_a_file_is_found_and_handed_to_nobody(
    where: str, holdings: Holdings, job: Job, secret: ServerSecret
) -> None:
    audit = Audit(holdings.engine, secret)
    audit.record(
        "job.end", user="o", status="succeeded", output=manifest_sum(holdings.folders, job.id), job_id=job.id
    )
    assert verify(holdings, audit).faults == []
    artifacts = read_result(holdings.folders, job.id).artifacts
    file = stem(holdings, job)
    data = bytearray(file.path.read_bytes())
    if where == "swap":
        data = bytearray((holdings.folders.result(job.id) / artifacts[1].path).read_bytes())
    elif where == "plain":
        data = bytearray(file.read())
    elif where == "cut":
        del data[len(data) // 2 :]
    else:
        data[{"header": 10, "middle": len(data) // 2, "end": -1}[where]] ^= 1
    file.path.write_bytes(data)
    faults = verify(holdings, audit).faults
    assert [(fault.path, fault.problem) for fault in faults] == [(file.name, "changed")]
    with pytest.raises(EncryptedFileDamaged):
        file.read()
    path = holdings.folders.result(job.id) / "manifest.json"
    path.write_bytes(path.read_bytes()[:-1])
    assert not is_whole(holdings.folders, job.id) and manifest_sum(holdings.folders, job.id) == ""


def test_a_recording_that_was_changed_fails_its_job_by_a_code(holdings: Holdings) -> None:
    waiting = next(job for job in holdings.store.find(JobFilter()) if not job.status.final)
    path = holdings.folders.input(waiting)
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    claim = claimed(holdings.store)  # type: ignore[arg-type]
    assert (
        attempt(holdings.store, holdings.folders, worker_config(), threading.Event(), claim) is Outcome.FAILED
    )
    failed = holdings.store.get(waiting.id)
    assert failed is not None and failed.error is not None and failed.error.code == "encrypted_file_damaged"


DIES = """
import os, signal, sys, threading
from pathlib import Path
from api.jobs import publication
from api.jobs.folders import Folders
from api.jobs.worker import attempt
from tests.encryption_support import encrypting
from tests.worker_support import claimed, open_store, worker_config
folders = Folders.below(Path(sys.argv[1]))
store = open_store(folders)
name = sys.argv[2]
before = getattr(publication, name)
def dies(*given):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(publication, name, dies)
attempt(store, encrypting(folders, store._engine), worker_config(), threading.Event(), claimed(store))
"""


@pytest.mark.parametrize("where", ["_encrypted", "_move"])
def test_what_a_worker_had_made_when_it_was_killed_is_encrypted_and_shown_by_the_next(
    where: str, holdings: Holdings, tmp_path: Path
) -> None:
    waiting = next(job for job in holdings.store.find(JobFilter()) if not job.status.final)
    done = subprocess.run([sys.executable, "-c", DIES, str(holdings.folders.data), where], check=False)
    assert done.returncode == -signal.SIGKILL and not is_published(holdings.folders, waiting.id)
    dead = holdings.store.get(waiting.id)
    assert dead is not None
    claim = taken_over(holdings.store, Claim(dead, "worker-1", dead.fence))  # type: ignore[arg-type]
    ours = attempt(holdings.store, holdings.folders, worker_config(), threading.Event(), claim)
    assert ours is Outcome.SUCCEEDED
    files = [path for path in holdings.folders.result(waiting.id).rglob("*") if path.is_file()]
    assert len(files) == 5 and all(is_encrypted(path) for path in files)
    assert temporary_files(holdings.folders) == [] and verify(holdings).faults == []


def test_whoever_has_the_key_no_more_reads_nothing(holdings: Holdings, job: Job) -> None:
    held = stem(holdings, job)
    for masters in ([NEW], None):
        keys = None if masters is None else DataKeys(holdings.engine, MasterKeys(masters))
        with pytest.raises(MasterKeyMissing):
            read_result(replace(holdings.folders, keys=keys), job.id)
    assert holdings.folders.keys is not None
    holdings.folders.keys.destroy(job.id)
    for reading in (held.read, lambda: read_result(holdings.folders, job.id)):
        with pytest.raises(DataKeyGone):
            reading()
    problems = {fault.problem for fault in verify(holdings).faults}
    assert problems == {"unreadable"}
