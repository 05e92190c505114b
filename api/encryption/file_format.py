r"""The format of an encrypted file: any stretch of it can be read, and every change is noticed.

::

    magic      8 bytes   ``\x89APENC1\n``: the last digit is the version
    file id   32 bytes   random
    chunk 0, chunk 1 …   each the AES-256-GCM of 64 KiB (the last of fewer, of an empty file of none), and its
                         tag of 16 bytes

The key of a file is HKDF-SHA256 (RFC 5869) of the job's key, salted with the file id; its info is magic and
name of the file. A chunk's nonce is its number (11 bytes, big-endian) and whether it is the last (1 byte):
the construction STREAM of Hoang, Reyhanitabar, Rogaway and Vizár, "Online Authenticated-Encryption and its
Nonce-Reuse Misuse-Resistance", CRYPTO 2015. So a chunk that was changed, moved or left out does not decrypt,
nor does one of another file, one of another job, or a file under another's name; and no two files share a
key, so that no nonce comes twice.
"""

from __future__ import annotations

import io
import os
import secrets
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from api.encryption.errors import EncryptedFileDamaged

KEY_BYTES: Final = 32
MAGIC: Final = b"\x89APENC1\n"
CHUNK: Final = 1 << 16
_ID_BYTES: Final = 32
_TAG: Final = 16
_HEADER: Final = len(MAGIC) + _ID_BYTES


def encrypted_size(size: int) -> int:
    """Bytes of a file once it is encrypted."""
    return _HEADER + size + _TAG * max(-(-size // CHUNK), 1)


def plain_size(size: int) -> int | None:
    """Bytes that an encrypted file of a size holds; None: no such file has that size."""
    body = size - _HEADER
    chunks = -(-body // (CHUNK + _TAG))
    held = body - _TAG * chunks
    return held if chunks > 0 and encrypted_size(held) == size else None


def is_encrypted(path: Path) -> bool:
    """Whether a file begins like an encrypted one.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def encrypt(source: IO[bytes], target: IO[bytes], key: bytes, name: str) -> int:
    """Encrypt a stream.

    Args:
        source: what is to be encrypted, to its end.
        target: where it goes.
        key: of the job.
        name: of the file: it can be read under no other one.

    Returns:
        How many bytes were read.

    Raises:
        OSError: one of the two cannot be used.
    """
    file_id = secrets.token_bytes(_ID_BYTES)
    cipher = _cipher(key, file_id, name)
    target.write(MAGIC + file_id)
    number, size, chunk = 0, 0, source.read(CHUNK)
    while True:
        following = source.read(CHUNK) if len(chunk) == CHUNK else b""
        target.write(cipher.encrypt(_nonce(number, last=not following), chunk, None))
        size += len(chunk)
        if not following:
            return size
        number, chunk = number + 1, following


def encrypt_file(source: Path, target: Path, key: bytes, name: str) -> None:
    """Encrypt a file into another one, durably.

    Raises:
        OSError: the operating system refuses.
    """
    with source.open("rb") as reader, target.open("xb") as writer:
        os.fchmod(writer.fileno(), 0o600)
        encrypt(reader, writer, key, name)
        writer.flush()
        os.fsync(writer.fileno())


def open_encrypted(path: Path, key: bytes, name: str) -> BinaryIO:
    """Open an encrypted file for reading, at any place: a chunk is in memory at a time.

    Raises:
        EncryptedFileDamaged: it is none, or was cut short. What was changed is found when it is read.
        OSError: it cannot be read.
    """
    return cast(BinaryIO, io.BufferedReader(EncryptedReader(path, key, name), CHUNK))


class EncryptedReader(io.RawIOBase):
    """Decrypts a file while it is read.

    Args:
        path: where it lies.
        key: of the job.
        name: under which it was encrypted.

    Attributes:
        size: bytes that it holds.

    Raises:
        EncryptedFileDamaged: see `open_encrypted`.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path, key: bytes, name: str) -> None:
        self._fd, self._name = os.open(path, os.O_RDONLY | os.O_CLOEXEC), name
        header = os.pread(self._fd, _HEADER, 0)
        size = plain_size(os.fstat(self._fd).st_size)
        if size is None or header[: len(MAGIC)] != MAGIC:
            self.close()
            raise self._damaged()
        self.size = size
        self._cipher = _cipher(key, header[len(MAGIC) :], name)
        self._last = max(-(-size // CHUNK), 1) - 1
        self._at, self._held, self._chunk = 0, -1, b""
        self._decrypted(self._last)  # That nothing is missing at the end can only be seen there.

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Where the next byte comes from."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a byte; one behind the end has none to read."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError("negative seek position")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read what is left of a chunk, as far as it fits."""
        view = memoryview(buffer).cast("B")
        if self._at >= self.size or not view:
            return 0
        number, start = divmod(self._at, CHUNK)
        if number != self._held:
            self._decrypted(number)
        part = memoryview(self._chunk)[start : start + len(view)]
        view[: len(part)] = part
        self._at += len(part)
        return len(part)

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            os.close(self._fd)
        super().close()

    def _decrypted(self, number: int) -> None:
        data = os.pread(self._fd, CHUNK + _TAG, _HEADER + number * (CHUNK + _TAG))
        try:
            self._chunk = self._cipher.decrypt(_nonce(number, last=number == self._last), data, None)
        except (InvalidTag, ValueError) as exc:
            self.close()
            raise self._damaged() from exc
        self._held = number

    def _damaged(self) -> EncryptedFileDamaged:
        return EncryptedFileDamaged(
            f"{self._name} is not as it was encrypted.", "Restore it from a backup, or submit it again."
        )


def _cipher(key: bytes, file_id: bytes, name: str) -> AESGCM:
    info = MAGIC + name.encode()
    return AESGCM(HKDF(SHA256(), KEY_BYTES, salt=file_id, info=info).derive(key))


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])
