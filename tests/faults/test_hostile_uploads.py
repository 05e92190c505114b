"""Recordings that are made to break in or to break down, sent to a running service as any user may."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import numpy as np
import pytest
import soundfile

from tests.audio_files import convert, music, write_wav
from tests.faults.test_bad_input import CASES, playlists
from tests.service import KEY, Service, ended, submit

MB = 1 << 20
LIMIT_MB = 500
TAG = "<b>A</b> ![x](http://x.example/y) \x1b[31m {{7*7}} \u202e \u2028 '; DROP TABLE jobs;--"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with Service(folder, PIPELINE_MAX_DURATION_S="60", MAX_FILE_SIZE_MB=str(LIMIT_MB)) as running:
        yield running
        assert '"level": "error"' not in running.said.read_text()


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


def failure(http: httpx.Client, path: Path) -> str:
    """Code of why a recording was refused, at the door or by the job."""
    answer = submit(http, path)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json"
        return str(answer.json()["code"])
    job = ended(http, answer.json()["id"])
    assert job["status"] == "failed", job
    assert http.get(f"/jobs/{job['id']}/manifest").status_code == 404
    return str(job["error"]["code"])


@pytest.mark.parametrize("case", CASES)
def test_bad_recordings_are_refused_over_http_as_they_are_in_the_library(
    service: Service, http: httpx.Client, case: str, tmp_path: Path
) -> None:
    make, expected = CASES[case]
    assert failure(http, make(tmp_path)) == expected.code
    assert not list((service.folder / "uploads").glob(".incoming-*"))
    assert http.get("/readyz").status_code == 200


@pytest.mark.parametrize("suffix", [".mp3", ".wav", ".mp4"])
def test_no_file_of_the_server_can_be_read_through_a_playlist(
    service: Service, http: httpx.Client, suffix: str, tmp_path: Path
) -> None:
    target = write_wav(service.folder / "somebody-elses.wav", music(1.0))
    for name, content in playlists(target).items():
        path = tmp_path / f"song{suffix}"
        path.write_bytes(content)
        assert failure(http, path) in {"input_is_playlist", "input_not_audio", "input_is_web_page"}, name


def many_channels(folder: Path) -> Path:
    path = folder / "choir.wav"
    soundfile.write(path, np.full((100, 1024), 0.1, dtype=np.float32), 44100, subtype="PCM_16")
    return path


def growing_flac(folder: Path) -> Path:
    quiet = np.zeros((8000 * 3600, 1), dtype=np.int16)
    quiet[0] = 9999
    soundfile.write(folder / "bomb.flac", quiet, 8000)
    return folder / "bomb.flac"


def zip_bomb(folder: Path) -> Path:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("song.wav", bytes(20 * MB))
    return written(folder / "song.mp3", whole.getvalue())


def endless_chunk(folder: Path) -> Path:
    return written(folder / "huge.wav", b"RIFF\xff\xff\xff\xffWAVEJUNK\xff\xff\xff\xff" + bytes(1000))


def nested_atoms(folder: Path) -> Path:
    atoms = b""
    for _ in range(3000):
        atoms = struct.pack(">I", len(atoms) + 8) + b"moov" + atoms
    return written(folder / "deep.m4a", b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42" + atoms)


def web_page_behind_a_header(folder: Path) -> Path:
    return written(folder / "both.wav", b"RIFF\x40\0\0\0WAVE<html><script>alert(1)</script></html>")


def executable(folder: Path) -> Path:
    return written(folder / "song.wav", b"\x7fELF\x02\x01\x01" + bytes(5000))


def picture(folder: Path) -> Path:
    return written(folder / "song.flac", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(5000))


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("make", "codes"),
    [
        (many_channels, {"channels_unsupported", "audio_header_only"}),  # ffmpeg reads no such header
        (growing_flac, {"audio_too_long"}),
        (zip_bomb, {"input_not_audio"}),
        (endless_chunk, {"audio_header_only", "input_not_audio", "audio_header_mismatch"}),
        (nested_atoms, {"audio_header_only", "input_not_audio", "audio_missing"}),
        (web_page_behind_a_header, {"audio_header_only", "input_not_audio", "audio_header_mismatch"}),
        (executable, {"input_not_audio"}),
        (picture, {"input_not_audio", "audio_missing"}),
    ],
)
def test_what_is_made_to_break_a_decoder_is_refused(
    service: Service, http: httpx.Client, make: object, codes: set[str], tmp_path: Path
) -> None:
    assert callable(make)
    assert failure(http, make(tmp_path)) in codes
    assert http.get("/readyz").status_code == 200


def test_hostile_tags_come_out_as_data_and_nothing_else(http: httpx.Client, tmp_path: Path) -> None:
    source = write_wav(tmp_path / "a.wav", music(1.0))
    tagged = convert(source, tmp_path / "tagged.flac", "-metadata", f"title={TAG}", "-metadata", "artist=a")
    job_id = submit(http, tagged, metadata=json.dumps({"note": TAG})).json()["id"]
    job = ended(http, job_id)
    assert (job["status"], job["metadata"]["note"]) == ("succeeded", TAG)
    answer = http.get(f"/jobs/{job_id}/manifest")
    assert answer.headers["Content-Type"] == "application/json"
    tags = answer.json()["input"]["tags"]
    assert tags["title"].startswith("<b>A</b> ![x](http://x.example/y)")
    assert tags["artist"] == "a"


def test_more_than_the_limit_is_refused_before_it_is_sent(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as client:
        length = (LIMIT_MB + 1) * MB + 1
        client.sendall(
            f"POST /process HTTP/1.1\r\nHost: s\r\nX-API-Key: {KEY}\r\nContent-Length: {length}\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n\r\n".encode()
        )
        assert client.recv(12) == b"HTTP/1.1 413"
    assert not list((service.folder / "uploads").glob(".incoming-*"))


def test_a_body_without_an_end_is_cut_at_the_limit_and_leaves_nothing(tmp_path: Path) -> None:
    with Service(tmp_path, MAX_FILE_SIZE_MB="8") as service:
        sent, said = 0, b""
        with socket.create_connection(("127.0.0.1", service.port), timeout=60) as client:
            client.sendall(
                f"POST /process HTTP/1.1\r\nHost: s\r\nX-API-Key: {KEY}\r\nTransfer-Encoding: chunked\r\n"
                "Content-Type: multipart/form-data; boundary=b\r\n\r\n".encode()
            )
            piece = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF'
            with contextlib.suppress(ConnectionError):
                while sent < 200 * MB:
                    client.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
                    sent += len(piece)
                    piece = bytes(MB // 4)
            with contextlib.suppress(ConnectionError):
                said = client.recv(1 << 16)
        assert sent < 60 * MB
        assert said.startswith(b"HTTP/1.1 413")
        assert not list((service.folder / "uploads").glob(".incoming-*"))


def test_a_link_among_the_recordings_is_not_followed(
    service: Service, http: httpx.Client, tmp_path: Path
) -> None:
    """A name that the service itself uses, and one that is a link where it would write."""
    outside = tmp_path / "outside"
    outside.mkdir()
    os.symlink(outside, service.folder / "uploads" / "link")
    song = write_wav(tmp_path / "x.wav", music(0.5, seed=4))
    for name in ("input", "link/../../x.wav", "manifest.json", ".", "..", "link/x.wav"):
        with song.open("rb") as file:
            answer = http.post("/process", files={"file": (name, file)})
        assert answer.status_code in (200, 202), answer.text
    assert list(outside.iterdir()) == []
