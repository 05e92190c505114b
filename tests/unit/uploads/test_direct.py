"""Uploads that go straight to S3, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from api.errors import NotFound, PayloadTooLarge, UploadUnknown
from api.storage.disk import DiskStorage
from api.storage.s3 import S3Storage
from api.uploads.direct import DirectUploads
from tests.s3_server import BUCKET, s3_server

NAME = "Lied ♫ / ../x.mp3"


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def storage(endpoint: str, tmp_path: Path) -> S3Storage:
    return S3Storage(BUCKET, tmp_path.name, endpoint=endpoint)


@pytest.fixture
def uploads(storage: S3Storage, clock: Clock) -> DirectUploads:
    return DirectUploads(storage, max_bytes=1 << 20, signed_s=60, kept_s=3600, now=clock)


def sent(uploads: DirectUploads, content: bytes = b"song") -> str:
    begun = uploads.begin("anna", NAME, len(content))
    httpx.put(begun.signed.url, content=content, headers=begun.signed.headers).raise_for_status()
    return begun.id


def test_a_job_is_made_of_what_was_sent_and_of_nothing_twice(uploads: DirectUploads, tmp_path: Path) -> None:
    upload_id = sent(uploads)
    with uploads.take("anna", upload_id, tmp_path) as (path, name):
        assert (path.read_bytes(), name) == (b"song", NAME)
    with pytest.raises(UploadUnknown), uploads.take("anna", upload_id, tmp_path):
        pass


def test_a_job_that_is_refused_leaves_the_upload(uploads: DirectUploads, tmp_path: Path) -> None:
    upload_id = sent(uploads)
    with pytest.raises(ZeroDivisionError), uploads.take("anna", upload_id, tmp_path):
        raise ZeroDivisionError
    with uploads.take("anna", upload_id, tmp_path) as (path, _):
        assert path.read_bytes() == b"song"


def test_nobody_takes_what_another_has_sent_or_what_has_not_come(
    uploads: DirectUploads, tmp_path: Path
) -> None:
    upload_id = sent(uploads)
    unsent = uploads.begin("anna", NAME, 4).id
    for owner, wanted in (("bert", upload_id), ("anna", unsent), ("anna", "direct-none")):
        with pytest.raises(UploadUnknown), uploads.take(owner, wanted, tmp_path):
            pass


def test_what_became_no_job_goes_in_time(uploads: DirectUploads, clock: Clock, tmp_path: Path) -> None:
    upload_id = sent(uploads)
    assert uploads.sweep() == 0
    clock.now += 3601
    assert uploads.sweep() == 1
    with pytest.raises(UploadUnknown), uploads.take("anna", upload_id, tmp_path):
        pass


def test_what_is_too_large_is_refused_before_it_is_sent(uploads: DirectUploads) -> None:
    with pytest.raises(PayloadTooLarge):
        uploads.begin("anna", NAME, (1 << 20) + 1)


def test_where_no_address_can_be_signed_that_is_told(tmp_path: Path) -> None:
    for storage in (None, DiskStorage(tmp_path)):
        with pytest.raises(NotFound, match="no direct uploads"):
            DirectUploads(storage, max_bytes=1, signed_s=1, kept_s=1).begin("anna", NAME, 1)
