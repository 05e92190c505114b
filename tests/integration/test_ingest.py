"""Recordings fetched from real servers: good ones, and all kinds of others."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import logging
import resource
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import structlog
import trustme

from api import errors
from api.ingest import Fetched, IngestRules, fetch
from api.outbound import Outbound
from api.telemetry import configure_logging
from pipeline.errors import (
    Cancelled,
    DiskFull,
    InputIsWebPage,
    InputTooLarge,
    OutputUnwritable,
    PipelineError,
)
from pipeline.progress import CancelToken
from tests.https_server import HOST, LOOPBACK, Answer, HttpsServer, head, redirect, whole

SONG = bytes(range(256)) * 1000
QUERY = "?signature=canary-query"
CHUNKED = head(transfer_encoding="chunked")


@pytest.fixture(scope="module")
def server() -> Iterator[HttpsServer]:
    with HttpsServer() as running:
        running.answers["/music/song.flac"] = whole(SONG)
        yield running


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the service would log, down to the last detail."""
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in ("httpx2", "httpcore2"))]
    handlers, levels = loggers[0].handlers, [logger.level for logger in loggers]
    loggers[0].handlers = []
    stream = io.StringIO()
    configure_logging("DEBUG", stream=stream)
    yield stream
    loggers[0].handlers = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def rules(**changes: object) -> IngestRules:
    usual = {"hosts": (HOST, "*.example.net", "127.0.0.1"), "max_bytes": len(SONG), "timeout_s": 60.0}
    return IngestRules(**{"enabled": True, **usual, **changes})  # type: ignore[arg-type]


def names(host: str, port: int) -> Sequence[str]:
    """A name server: inner.example.net leads inside, all others to the server of the tests."""
    return ["10.0.0.1"] if host.startswith("inner.") else ["127.0.0.1"]


def get(server: HttpsServer, path: str, folder: Path, **changes: object) -> Fetched:
    out = Outbound([LOOPBACK], resolve=names, tls=server.trust)
    return fetch(server.url(path) + QUERY, folder, rules(**changes), out, CancelToken())


def refused(server: HttpsServer, answer: Answer, folder: Path, **changes: object) -> PipelineError:
    """How an answer is refused; nothing is left of it, and nothing secret is told."""
    server.answers["/"] = answer
    with pytest.raises(PipelineError) as caught:
        get(server, "/", folder, **changes)
    assert list(folder.iterdir()) == []
    assert "canary" not in str(caught.value)
    return caught.value


def test_a_recording_is_fetched_counted_and_hashed(server: HttpsServer, folder: Path) -> None:
    fetched = get(server, "/music/song.flac", folder)
    assert fetched == Fetched(folder / "input", "song.flac", len(SONG), hashlib.sha256(SONG).hexdigest())
    assert fetched.path.read_bytes() == SONG
    asked = server.requests[-1].lower()
    assert b"accept-encoding: identity" in asked and b"cookie" not in asked and b"referer" not in asked
    assert b"get /music/song.flac?signature=canary-query " in asked


def test_a_recording_in_chunks_is_fetched_too(server: HttpsServer, folder: Path) -> None:
    server.answers["/"] = lambda: [
        head(transfer_encoding="chunked", content_disposition="attachment; filename*=UTF-8''%E2%99%AB.mp3"),
        b"4\r\nfour\r\n",
        b"0\r\n\r\n",
    ]
    fetched = get(server, "/", folder)
    assert (fetched.bytes, fetched.filename) == (4, "♫.mp3")


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
def test_redirects_are_followed(server: HttpsServer, folder: Path, status: str) -> None:
    server.answers["/a"] = redirect("b", status)
    server.answers["/b"] = redirect(server.url("/music/song.flac", host="cdn.example.net"), status)
    with pytest.raises(errors.UrlTlsFailed):  # the certificate is not for that host
        get(server, "/a", folder)
    server.answers["/b"] = redirect(f"//{HOST}:{server.port}/music/../music/song.flac", status)
    assert get(server, "/a", folder).bytes == len(SONG)


@pytest.mark.parametrize(
    ("location", "kind"),
    [
        ("https://evil.test/", errors.UrlHostRefused),
        ("https://169.254.169.254/latest/meta-data/", errors.UrlAddressRefused),
        ("https://inner.example.net/canary", errors.UrlAddressRefused),
        (f"http://{HOST}/canary", errors.UrlRefused),
        ("file:///etc/passwd", errors.UrlRefused),
        ("ftp://media.example.org/canary", errors.UrlRefused),
        (f"https://canary:canary@{HOST}/", errors.UrlRefused),
        (f"https://{HOST}\\@evil.test/", errors.UrlRefused),
        ("https://[canary/", PipelineError),
        ("", errors.UrlRefused),
    ],
)
def test_every_redirect_is_checked_again(
    server: HttpsServer, folder: Path, location: str, kind: type[PipelineError]
) -> None:
    error = refused(server, redirect(location), folder)
    assert isinstance(error, kind)
    if isinstance(error, errors.UrlRefused):
        assert error.message.startswith("The URL redirects") or "inner.example.net" in error.message


def test_a_redirect_to_an_inner_address_on_the_list_is_refused(server: HttpsServer, folder: Path) -> None:
    error = refused(server, redirect("https://10.0.0.1/"), folder, hosts=(HOST, "10.0.0.1"))
    assert isinstance(error, errors.UrlAddressRefused)


def test_five_redirects_are_followed_and_not_six(server: HttpsServer, folder: Path) -> None:
    for hop in range(6):
        server.answers[f"/{hop}"] = redirect(f"/{hop + 1}")
    server.answers["/6"] = whole(SONG)
    before = len(server.requests)
    with pytest.raises(errors.UrlAnswerRefused, match="5 times"):
        get(server, "/0", folder)
    assert len(server.requests) == before + 6
    assert get(server, "/1", folder).bytes == len(SONG)


def test_a_redirect_in_a_circle_ends(server: HttpsServer, folder: Path) -> None:
    assert isinstance(refused(server, redirect("/"), folder), errors.UrlAnswerRefused)


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        ("404 Not Found", errors.UrlAnswerRefused, False),
        ("403 Forbidden", errors.UrlAnswerRefused, False),
        ("206 Partial Content", errors.UrlAnswerRefused, False),
        ("204 No Content", errors.UrlAnswerRefused, False),
        ("304 Not Modified", errors.UrlAnswerRefused, False),
        ("429 Too Many Requests", errors.UrlBusy, True),
        ("500 Internal Server Error", errors.UrlBusy, True),
        ("503 Service Unavailable", errors.UrlBusy, True),
    ],
)
def test_another_status_is_told(
    server: HttpsServer, folder: Path, status: str, kind: type[PipelineError], retryable: bool
) -> None:
    error = refused(server, lambda: [head(status, content_length="0")], folder)
    assert (type(error), error.retryable) == (kind, retryable)
    assert status[:3] in error.message


def test_a_web_page_is_told_as_one(server: HttpsServer, folder: Path) -> None:
    page = whole(b"<html>", content_type="Text/HTML; charset=utf-8")
    assert isinstance(refused(server, page, folder), InputIsWebPage)


def test_a_file_that_says_it_is_too_large_is_not_read(server: HttpsServer, folder: Path) -> None:
    answer = lambda: [head(content_length=str(len(SONG) + 1))]  # noqa: E731
    assert isinstance(refused(server, answer, folder), InputTooLarge)


@pytest.mark.parametrize("first", [CHUNKED, head(transfer_encoding="chunked", content_length="5")])
def test_an_endless_body_ends_at_the_limit(server: HttpsServer, folder: Path, first: bytes) -> None:
    chunk = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
    endless = lambda: itertools.chain([first], itertools.repeat(chunk))  # noqa: E731
    assert isinstance(refused(server, endless, folder), InputTooLarge)


@pytest.mark.parametrize(
    "pieces",
    [
        [head(content_length=str(len(SONG))), SONG[:-1]],
        [head(content_length="10")],
        [CHUNKED, b"4\r\nfour\r\n"],
        [CHUNKED, b"4\r\nfo"],
        [CHUNKED, b"nonsense\r\n"],
        [CHUNKED, b"-4\r\nfour\r\n0\r\n\r\n"],
        [head(content_length="4, 5"), b"four!"],
        [head(content_length="-4"), b"four"],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 4"],
        [b"ID3 this is no HTTP"],
        [],
    ],
)
def test_a_broken_transfer_is_an_error_that_may_pass(
    server: HttpsServer, folder: Path, pieces: list[bytes]
) -> None:
    error = refused(server, lambda: pieces, folder)
    assert isinstance(error, errors.UrlBroken) and error.retryable


def test_a_body_without_an_end_could_be_cut_off_unseen(server: HttpsServer, folder: Path) -> None:
    assert isinstance(refused(server, lambda: [head(), SONG], folder), errors.UrlAnswerRefused)


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "GZIP"])
def test_a_compressed_body_is_not_unpacked(server: HttpsServer, folder: Path, coding: str) -> None:
    bomb = whole(gzip.compress(bytes(1 << 22)), content_encoding=coding)
    assert isinstance(refused(server, bomb, folder), errors.UrlAnswerRefused)


def test_a_server_that_falls_silent_is_given_up(server: HttpsServer, folder: Path) -> None:
    def silent() -> Iterator[bytes]:
        yield head(content_length="10") + b"four"
        server.released.wait(60)

    error = refused(server, silent, folder, silence_s=0.2)
    assert isinstance(error, errors.UrlTimedOut) and error.retryable


def test_a_server_that_drips_is_given_up_when_the_time_is_up(server: HttpsServer, folder: Path) -> None:
    ticks = map(float, itertools.count())
    out = Outbound([LOOPBACK], resolve=names, tls=server.trust, clock=ticks.__next__)
    server.answers["/"] = lambda: itertools.chain([head(content_length="200000")], itertools.repeat(b"y"))
    with pytest.raises(errors.UrlTimedOut):
        fetch(server.url("/"), folder, rules(timeout_s=100), out, CancelToken())
    assert list(folder.iterdir()) == []


def test_the_time_is_that_of_all_redirects_together(server: HttpsServer, folder: Path) -> None:
    ticks = map(float, itertools.count())
    out = Outbound([LOOPBACK], resolve=names, tls=server.trust, clock=ticks.__next__)
    for hop in range(5):
        server.answers[f"/{hop}"] = redirect(f"/{hop + 1}")
    server.answers["/5"] = whole(b"four")
    with pytest.raises(errors.UrlTimedOut):
        fetch(server.url("/0"), folder, rules(timeout_s=20), out, CancelToken())
    assert fetch(server.url("/5"), folder, rules(timeout_s=20), out, CancelToken()).bytes == 4


def test_a_transfer_can_be_stopped(server: HttpsServer, folder: Path) -> None:
    cancel = CancelToken()

    def stopping() -> Iterator[bytes]:
        yield head(content_length="10") + b"four"
        cancel.cancel()
        yield from itertools.repeat(b"y")

    server.answers["/"] = stopping
    out = Outbound([LOOPBACK], resolve=names, tls=server.trust)
    with pytest.raises(Cancelled):
        fetch(server.url("/"), folder, rules(), out, cancel)
    assert list(folder.iterdir()) == []


def test_a_server_that_cannot_prove_who_it_is_is_told_nothing(server: HttpsServer, folder: Path) -> None:
    with HttpsServer(authority=trustme.CA()) as other, HttpsServer(tls=False) as plain:
        for running in (other, plain):
            out = Outbound([LOOPBACK], resolve=names, tls=server.trust)
            with pytest.raises(errors.UrlTlsFailed) as failed:
                fetch(running.url("/"), folder, rules(), out, CancelToken())
            assert not failed.value.retryable and running.requests == []


def test_a_host_that_is_down_may_come_back(server: HttpsServer, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(errors.UrlUnreachable) as failed:
        fetch(f"https://{HOST}:{port}/", folder, rules(), Outbound([LOOPBACK], resolve=names), CancelToken())
    assert failed.value.retryable


def test_a_full_disk_is_told_and_leaves_nothing(server: HttpsServer, folder: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with pytest.raises(DiskFull):
            get(server, "/music/song.flac", folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(folder.iterdir()) == []


def test_what_lies_there_already_is_not_overwritten(server: HttpsServer, folder: Path) -> None:
    (folder / "input").symlink_to(folder / "elsewhere")
    with pytest.raises(OutputUnwritable):
        get(server, "/music/song.flac", folder)
    assert not (folder / "elsewhere").exists() and (folder / "input").is_symlink()


def test_the_log_names_hosts_and_nothing_else_of_a_url(
    server: HttpsServer, folder: Path, log: io.StringIO
) -> None:
    server.answers["/moved"] = redirect("/music/song.flac?token=canary")
    get(server, "/moved", folder)
    out = Outbound([LOOPBACK], resolve=names, tls=server.trust)
    with pytest.raises(errors.UrlAddressRefused):
        fetch("https://inner.example.net/canary", folder, rules(), out, CancelToken())
    assert "inner.example.net" in log.getvalue() and "canary" not in log.getvalue()
