from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.encryption.errors import EncryptedFileDamaged
from api.encryption.file_format import (
    CHUNK,
    MAGIC,
    encrypt,
    encrypt_file,
    encrypted_size,
    open_encrypted,
    plain_size,
)

KEY, NAME = bytes(range(32)), "outputs/j/stems/vocals.flac"
SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7)
HEADER, SEALED_CHUNK = 40, CHUNK + 16
ANY_FOLDER = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)


def content(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def encrypted(folder: Path, data: bytes, name: str = NAME, key: bytes = KEY, file: str = "sealed") -> Path:
    (folder / "plain").write_bytes(data)
    (folder / file).unlink(missing_ok=True)
    encrypt_file(folder / "plain", folder / file, key, name)
    return folder / file


def decrypted(path: Path, name: str = NAME, key: bytes = KEY) -> bytes:
    with open_encrypted(path, key, name) as file:
        return file.read()


@pytest.mark.parametrize("size", SIZES)
def test_a_file_of_any_size_comes_back_and_its_size_is_known_without_reading_it(
    tmp_path: Path, size: int
) -> None:
    path = encrypted(tmp_path, content(size))
    assert decrypted(path) == content(size)
    assert path.stat().st_size == encrypted_size(size) and plain_size(path.stat().st_size) == size


def test_nothing_of_what_it_holds_is_to_be_seen_and_no_two_are_alike(tmp_path: Path) -> None:
    words = b"words that nobody else sings" * 3000
    one, two = encrypted(tmp_path, words), encrypted(tmp_path, words, file="again")
    assert one.read_bytes()[: len(MAGIC)] == MAGIC and b"nobody" not in one.read_bytes()
    ours, theirs = one.read_bytes(), two.read_bytes()
    equal = sum(a == b for a, b in zip(ours[8:], theirs[8:], strict=True))
    assert equal < len(ours) / 100, "the same content under the same key does not look the same"


@ANY_FOLDER
@given(
    size=st.one_of(st.sampled_from(SIZES), st.integers(0, 3 * CHUNK)),
    start=st.integers(0, 3 * CHUNK + 10),
    length=st.one_of(st.integers(0, 40), st.integers(0, 2 * CHUNK)),
)
def test_any_stretch_is_what_it_is_in_the_plain_file(
    tmp_path: Path, size: int, start: int, length: int
) -> None:
    data = content(size)
    with open_encrypted(encrypted(tmp_path, data), KEY, NAME) as file:
        file.seek(start)
        assert file.read(length) == data[start : start + length]
        assert file.seek(0, os.SEEK_END) == size
        assert file.read(1) == b""


@ANY_FOLDER
@given(st.lists(st.binary(max_size=2 * CHUNK), max_size=4))
def test_a_stream_that_comes_in_pieces_is_one_file(tmp_path: Path, pieces: list[bytes]) -> None:
    target = io.BytesIO()
    assert encrypt(io.BytesIO(b"".join(pieces)), target, KEY, NAME) == sum(map(len, pieces))
    (tmp_path / "sealed").write_bytes(target.getvalue())
    assert decrypted(tmp_path / "sealed") == b"".join(pieces)


@pytest.mark.parametrize(
    "at",
    [
        0,
        7,
        8,
        39,
        HEADER,
        HEADER + 1,
        HEADER + CHUNK,
        HEADER + CHUNK + 15,
        HEADER + SEALED_CHUNK,
        -17,
        -16,
        -1,
    ],
    ids=str,
)
@pytest.mark.parametrize("bit", [0, 7])
def test_a_bit_that_was_flipped_anywhere_is_noticed(tmp_path: Path, at: int, bit: int) -> None:
    path = encrypted(tmp_path, content(2 * CHUNK + 100))
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(EncryptedFileDamaged, match="is not as it was encrypted"):
        decrypted(path)


@ANY_FOLDER
@given(at=st.integers(0, encrypted_size(CHUNK + 9) - 1), bit=st.integers(0, 7))
def test_no_bit_is_without_a_guard(tmp_path: Path, at: int, bit: int) -> None:
    path = encrypted(tmp_path, content(CHUNK + 9))
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(EncryptedFileDamaged):
        decrypted(path)


@pytest.mark.parametrize(
    "kept", [0, 8, HEADER, HEADER + 15, HEADER + 16, HEADER + SEALED_CHUNK, -SEALED_CHUNK, -1]
)
def test_a_file_that_was_cut_is_refused_when_it_is_opened(tmp_path: Path, kept: int) -> None:
    path = encrypted(tmp_path, content(3 * CHUNK))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(EncryptedFileDamaged):
        open_encrypted(path, KEY, NAME)


@pytest.mark.parametrize("more", [b"\0", bytes(16), bytes(17), bytes(SEALED_CHUNK)])
def test_a_file_that_has_grown_is_refused_when_it_is_opened(tmp_path: Path, more: bytes) -> None:
    path = encrypted(tmp_path, content(CHUNK))
    path.write_bytes(path.read_bytes() + more)
    with pytest.raises(EncryptedFileDamaged):
        open_encrypted(path, KEY, NAME)


def test_chunks_that_changed_places_or_came_twice_or_from_another_file_are_noticed(tmp_path: Path) -> None:
    path = encrypted(tmp_path, content(4 * CHUNK))
    other = encrypted(tmp_path, content(4 * CHUNK), file="other").read_bytes()
    whole = path.read_bytes()
    chunks = [whole[at : at + SEALED_CHUNK] for at in range(HEADER, len(whole), SEALED_CHUNK)]
    foreign = other[HEADER : HEADER + SEALED_CHUNK]
    head = whole[:HEADER]
    for wrong in (
        [chunks[1], chunks[0], *chunks[2:]],
        [chunks[0], chunks[0], *chunks[2:]],
        [foreign, *chunks[1:]],
        [*chunks[:3], chunks[2]],
        chunks[:3],
        chunks[1:],
    ):
        path.write_bytes(head + b"".join(wrong))
        with pytest.raises(EncryptedFileDamaged):
            decrypted(path)


def test_a_file_is_read_by_its_own_name_and_its_own_key_alone(tmp_path: Path) -> None:
    path = encrypted(tmp_path, content(100))
    for name, key in (
        ("outputs/j/stems/drums.flac", KEY),
        ("outputs/k/stems/vocals.flac", KEY),
        (NAME, bytes(32)),
    ):
        with pytest.raises(EncryptedFileDamaged):
            decrypted(path, name, key)


def test_what_was_found_damaged_costs_no_open_file(tmp_path: Path) -> None:
    path = encrypted(tmp_path, content(CHUNK))
    path.write_bytes(path.read_bytes()[:-1])
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(EncryptedFileDamaged):
            open_encrypted(path, KEY, NAME)
    assert len(os.listdir("/proc/self/fd")) == before
