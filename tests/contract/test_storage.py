"""What every storage promises, kept by a folder and by S3."""

from __future__ import annotations

import hashlib
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx2 as httpx
import pytest

from api.errors import StorageUnavailable
from api.storage.base import Storage
from api.storage.disk import DiskStorage
from api.storage.s3 import S3Storage
from tests.s3_server import BUCKET, s3_server


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(params=["disk", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "disk":
        disk = DiskStorage(tmp_path / "volume")
        disk.create()
        return disk
    return S3Storage(
        BUCKET, hashlib.sha256(str(tmp_path).encode()).hexdigest(),
        endpoint=request.getfixturevalue("endpoint"), multipart_mb=5,
    )  # fmt: skip


@pytest.fixture
def s3(endpoint: str, tmp_path: Path) -> S3Storage:
    return S3Storage(BUCKET, f"x{abs(hash(tmp_path))}", endpoint=endpoint, encryption="AES256")


def written(path: Path, content: bytes = b"abc") -> Path:
    path.write_bytes(content)
    return path


def names(storage: Storage, prefix: str) -> set[str]:
    return set(storage.below(prefix))


def test_what_was_put_comes_back_byte_for_byte(storage: Storage, tmp_path: Path) -> None:
    content = bytes(range(256)) * 50_000  # 12 MB: S3 takes it in parts.
    assert storage.put("uploads/j/input", written(tmp_path / "song", content))
    assert storage.size("uploads/j/input") == len(content)
    target = tmp_path / "elsewhere" / "input"
    assert storage.fetch("uploads/j/input", target)
    assert target.read_bytes() == content
    assert list(target.parent.iterdir()) == [target], "nothing temporary stays"


def test_what_is_not_there_is_told_and_leaves_nothing(storage: Storage, tmp_path: Path) -> None:
    assert storage.size("uploads/none/input") is None
    assert not storage.fetch("uploads/none/input", tmp_path / "new" / "input")
    assert not [path for path in (tmp_path / "new").rglob("*") if path.is_file()]
    assert names(storage, "uploads/none/") == set()
    assert storage.remove("uploads/none/") == 0


def test_a_file_is_replaced_unless_the_first_is_to_stay(storage: Storage, tmp_path: Path) -> None:
    first, second = written(tmp_path / "1", b"first"), written(tmp_path / "2", b"second")
    assert storage.put("k/manifest", first)
    assert not storage.put("k/manifest", second, if_absent=True)
    storage.fetch("k/manifest", tmp_path / "found")
    assert (tmp_path / "found").read_bytes() == b"first"
    assert storage.put("k/manifest", second)
    storage.fetch("k/manifest", tmp_path / "found")
    assert (tmp_path / "found").read_bytes() == b"second"


def test_of_many_who_come_at_once_one_is_first(storage: Storage, tmp_path: Path) -> None:
    together, won = threading.Barrier(8), list[bytes]()

    def put(n: int) -> None:
        path = written(tmp_path / str(n), str(n).encode())
        together.wait()
        if storage.put("k/manifest", path, if_absent=True):
            won.append(path.read_bytes())

    threads = [threading.Thread(target=put, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    storage.fetch("k/manifest", tmp_path / "found")
    assert won == [(tmp_path / "found").read_bytes()]


def test_names_below_a_prefix_are_those_of_files_and_folders(storage: Storage, tmp_path: Path) -> None:
    path = written(tmp_path / "x")
    for key in ("outputs/a/manifest.json", "outputs/a/0f/stems/vocals.flac", "outputs/b/manifest.json"):
        storage.put(key, path)
    assert names(storage, "outputs/") == {"a", "b"}
    assert names(storage, "outputs/a/") == {"manifest.json", "0f"}


def test_all_that_begins_alike_is_removed_and_nothing_else(storage: Storage, tmp_path: Path) -> None:
    path = written(tmp_path / "x")
    for key in ("outputs/a/manifest.json", "outputs/a/0f/stems/vocals.flac", "outputs/ab/manifest.json"):
        storage.put(key, path)
    assert storage.remove("outputs/a/") == 2
    assert names(storage, "outputs/") == {"ab"}


def test_a_missing_volume_is_told_and_nothing_is_written_in_its_place(tmp_path: Path) -> None:
    storage = DiskStorage(tmp_path / "not mounted")
    with pytest.raises(StorageUnavailable):
        storage.put("k", written(tmp_path / "x"))
    with pytest.raises(StorageUnavailable):
        storage.size("k")
    assert not (tmp_path / "not mounted").exists()


def test_an_s3_that_refuses_is_told(endpoint: str, tmp_path: Path) -> None:
    storage = S3Storage("no-such-bucket", endpoint=endpoint)
    with pytest.raises(StorageUnavailable):
        storage.put("k", written(tmp_path / "x"))
    with pytest.raises(StorageUnavailable):
        storage.put("k", written(tmp_path / "x"), if_absent=True)


def test_what_s3_keeps_is_encrypted_as_asked(s3: S3Storage, endpoint: str, tmp_path: Path) -> None:
    s3.put("k", written(tmp_path / "x"))
    s3.put("m", tmp_path / "x", if_absent=True)
    client = boto3.client("s3", endpoint_url=endpoint)
    kept = client.list_objects_v2(Bucket=BUCKET, Prefix=s3._prefix)["Contents"]
    heads = [client.head_object(Bucket=BUCKET, Key=one["Key"]) for one in kept]
    assert [head["ServerSideEncryption"] for head in heads] == ["AES256", "AES256"]


def test_a_signed_address_gives_a_file_under_its_name(s3: S3Storage, tmp_path: Path) -> None:
    s3.put("k", written(tmp_path / "x", b"stem"))
    signed = s3.download_url("k", 60, "Ünsere - vocals.flac", "audio/flac")
    assert signed is not None
    with urllib.request.urlopen(signed.url) as answer:  # noqa: S310
        assert answer.read() == b"stem"
        assert answer.headers["Content-Type"] == "audio/flac"
        assert "%C3%9Cnsere" in answer.headers["Content-Disposition"]
    ranged = httpx.get(signed.url, headers={"Range": "bytes=1-2"})
    assert (ranged.status_code, ranged.content) == (206, b"te")


def test_a_signed_address_takes_a_file(s3: S3Storage, tmp_path: Path) -> None:
    signed = s3.upload_url("incoming/one", 60, 4)
    assert signed is not None
    assert httpx.put(signed.url, content=b"song", headers=signed.headers).status_code == 200
    assert s3.size("incoming/one") == 4


def test_a_folder_has_no_addresses(tmp_path: Path) -> None:
    assert DiskStorage(tmp_path).download_url("k", 60, "x", "audio/flac") is None
    assert DiskStorage(tmp_path).upload_url("k", 60, 1) is None
