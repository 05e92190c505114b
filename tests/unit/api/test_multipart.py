import hashlib
import os
from pathlib import Path

import httpx2 as httpx
import pytest

from api.errors import InvalidRequest
from api.multipart import FormReader

RECORDING = os.urandom(5000) + b"\r\n--" + os.urandom(3000) + b"\r\n"


def encoded(files: object, data: object = None) -> tuple[str, bytes]:
    request = httpx.Request("POST", "http://x/", files=files, data=data)
    return request.headers["content-type"], request.read()


def read(content_type: str, body: bytes, target: Path, piece: int = 1 << 20) -> FormReader:
    with FormReader(content_type, target) as reader:
        for start in range(0, len(body), piece):
            reader.feed(body[start : start + piece])
        reader.finish()
    return reader


@pytest.mark.parametrize("piece", [1, 2, 3, 61, 4096, 1 << 20])
def test_a_form_is_the_same_however_it_is_cut(tmp_path: Path, piece: int) -> None:
    content_type, body = encoded(
        {"file": ("a song.mp3", RECORDING)}, {"model": "hpss", "metadata": '{"a": "ü"}', "stems": ""}
    )
    form = read(content_type, body, tmp_path / "input", piece)
    assert form.filename == "a song.mp3"
    assert dict(form.fields) == {"model": "hpss", "metadata": '{"a": "ü"}', "stems": ""}
    assert (tmp_path / "input").read_bytes() == RECORDING
    assert form.sha256 == hashlib.sha256(RECORDING).hexdigest()


@pytest.mark.parametrize(
    "name",
    ["Ünïcödé 🎵.flac", "..\\..\\x.wav", "../../etc/passwd", "a;b=c.wav", "<img src=x>.mp3", "-rf", ""],
)
def test_a_file_name_comes_out_as_it_was_sent(tmp_path: Path, name: str) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    disposition = f'Content-Disposition: form-data; name="file"; filename="{quoted}"'
    body = f"--b\r\n{disposition}\r\n\r\nx\r\n--b--\r\n".encode()
    assert read("multipart/form-data; boundary=b", body, tmp_path / "input").filename == name


def test_a_quotation_mark_in_a_file_name_comes_out_as_one(tmp_path: Path) -> None:
    content_type, body = encoded({"file": ("![x](http://127.0.0.1:1/p.png) <b>é\"'.mp3", b"1")})
    form = read(content_type, body, tmp_path / "input")
    assert form.filename == "![x](http://127.0.0.1:1/p.png) <b>é\"'.mp3"


def test_fields_of_one_name_stay_apart_and_in_order(tmp_path: Path) -> None:
    content_type, body = encoded({"file": ("x", b"1")}, {"stems": ["vocals", "drums"]})
    form = read(content_type, body, tmp_path / "input")
    assert form.fields == [("stems", "vocals"), ("stems", "drums")]


def test_a_form_without_a_file_has_no_name(tmp_path: Path) -> None:
    form = read("multipart/form-data; boundary=b", part('name="url"', "https://x"), tmp_path / "input")
    assert form.filename is None
    assert form.fields == [("url", "https://x")]


def part(disposition: str, value: str = "x", headers: str = "") -> bytes:
    said = f"Content-Disposition: form-data; {disposition}\r\n{headers}"
    return f"--b\r\n{said}\r\n{value}\r\n--b--\r\n".encode()


FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nx\r\n'


@pytest.mark.parametrize(
    ("content_type", "body", "said"),
    [
        ("multipart/form-data", b"", "boundary"),
        ("multipart/form-data; boundary=", b"", "boundary"),
        (f"multipart/form-data; boundary={'b' * 5000}", b"", "boundary"),
        ("multipart/form-data; boundary=b", b"", "breaks off"),
        ("multipart/form-data; boundary=b", FILE, "breaks off"),
        ("multipart/form-data; boundary=b", FILE + b"--b", "breaks off"),
        ("multipart/form-data; boundary=b", b"nonsense", "broken"),
        ("multipart/form-data; boundary=b", FILE + FILE + b"--b--\r\n", "several files"),
        ("multipart/form-data; boundary=b", part('name="song"; filename="x"'), "must be the field `file`"),
        ("multipart/form-data; boundary=b", part('filename="x"'), "no name"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Type: x\r\n\r\nx\r\n--b--\r\n", "no name"),
        ("multipart/form-data; boundary=b", part('name="metadata"', "x" * 70_000), "more than 64 KB"),
        ("multipart/form-data; boundary=b", part('name="a"', headers="X: y\r\n" * 50), "broken"),
        ("multipart/form-data; boundary=b", part(f'name="{"a" * 10_000}"'), "broken"),
    ],
)
def test_a_form_that_makes_no_sense_is_refused(
    tmp_path: Path, content_type: str, body: bytes, said: str
) -> None:
    with pytest.raises(InvalidRequest, match=said):
        read(content_type, body, tmp_path / "input")


def test_more_fields_than_any_job_has_are_refused(tmp_path: Path) -> None:
    content_type, body = encoded({"file": ("x", b"1")}, {f"field{i}": "x" for i in range(40)})
    with pytest.raises(InvalidRequest, match="more than 32 fields"):
        read(content_type, body, tmp_path / "input")
