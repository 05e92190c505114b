"""Files of jobs as they are stored, encrypted or not; whoever reads one need not know which."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from api.encryption.data_keys import DataKeys
from api.encryption.errors import DataKeyGone, EncryptedFileDamaged, MasterKeyMissing
from api.encryption.file_format import MAGIC, encrypt, encrypt_file, open_encrypted, plain_size
from pipeline.scratch import disk_errors, sync_folder

_BLOCK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of a job, or a folder of such files.

    Every method that reads raises DataKeyGone, MasterKeyMissing, MasterKeyWrong or KeyCommandFailed where a
    file is encrypted and its key cannot be had, and DatabaseUnavailable where nobody can say.

    Attributes:
        path: where it lies.
        name: by which it is bound to its place, such as ``outputs/<job_id>/stems/vocals.flac``.
        job_id: whose key it is encrypted with.
        keys: of jobs; None: the service encrypts nothing.
    """

    path: Path
    name: str
    job_id: str = ""
    keys: DataKeys | None = None

    @classmethod
    def plain(cls, path: Path) -> Stored:
        """A file that is not encrypted."""
        return cls(path, path.name)

    def __truediv__(self, inside: str) -> Stored:
        """A file in this folder."""
        return Stored(self.path / inside, f"{self.name}/{inside}", self.job_id, self.keys)

    def at(self, path: Path) -> Stored:
        """The same file where it lies elsewhere."""
        return Stored(path, self.name, self.job_id, self.keys)

    @property
    def is_encrypted(self) -> bool:
        """Whether it is, or is to be."""
        return self._key() is not None

    def open(self) -> BinaryIO:
        """Open it for reading, at any place.

        Raises:
            EncryptedFileDamaged: it is not as it was encrypted; some of that is found only by reading.
            OSError: it cannot be read.
        """
        key = self._key()
        if key is not None:
            return open_encrypted(self.path, key, self.name)
        file = self.path.open("rb")
        if file.read(len(MAGIC)) == MAGIC:
            file.close()
            raise self._no_key()
        file.seek(0)
        return file

    def read(self) -> bytes:
        """All of it; for files that are small. Raises what `open` raises."""
        with self.open() as file:
            return file.read()

    def size(self) -> int:
        """Bytes that it holds, by the file's own size; -1: no encrypted file has that size.

        Raises:
            OSError: it is not there.
        """
        size = self.path.stat().st_size
        if self._key() is None:
            return size
        held = plain_size(size)
        return -1 if held is None else held

    def write(self, data: bytes, *, durably: bool = False) -> None:
        """Replace it: whole, or not at all.

        Raises:
            OSError: the operating system refuses.
        """
        key = self._key()
        draft = self.path.with_name(f"{self.path.name}.{uuid.uuid4()}.tmp")
        try:
            with draft.open("xb") as file:
                if key is None:
                    file.write(data)
                else:
                    encrypt(io.BytesIO(data), file, key, self.name)
                if durably:
                    file.flush()
                    os.fsync(file.fileno())
            draft.rename(self.path)
        finally:
            draft.unlink(missing_ok=True)

    def take(self, source: Path, *, keep: bool = False) -> None:
        """Move a file here, durably; it is encrypted on its way where it is to be.

        Args:
            source: the file, on the same disk.
            keep: whether it stays there too, where it is encrypted.

        Raises:
            OSError: the operating system refuses.
        """
        key = self._key()
        if key is None:
            with source.open("rb") as file:
                os.fsync(file.fileno())
            source.rename(self.path)
        else:
            draft = self.path.with_name(f".{self.path.name}.tmp")
            draft.unlink(missing_ok=True)  # Of a process that was killed.
            encrypt_file(source, draft, key, self.name)
            draft.rename(self.path)
            if not keep:
                source.unlink()
        sync_folder(self.path.parent)

    @contextmanager
    def sounding(self) -> Iterator[Path | BinaryIO]:
        """What libsndfile reads: the file itself, or what decrypts it.

        Raises:
            EncryptedFileDamaged: it was found while it was read. (libsndfile's callbacks must not raise.)
            OSError: it cannot be read.
        """
        if not self.is_encrypted:
            yield self.path
            return
        with self.open() as file:
            quiet = _Quiet(file)
            try:
                yield quiet  # type: ignore[misc]
            finally:
                if quiet.failure is not None:
                    raise quiet.failure

    @contextmanager
    def in_the_clear(self, scratch: Path) -> Iterator[Path]:
        """A path by which other programs read it. Of an encrypted file it is a copy that has no name.

        Args:
            scratch: on the disk where the copy may be; it is gone with this process, however that ends.

        Raises:
            EncryptedFileDamaged: it is not as it was encrypted.
            DiskFull: no room for the copy.
            OutputUnwritable: the operating system refuses.
        """
        if not self.path.exists() or not self.is_encrypted:
            yield self.path  # Whoever opens one that is not there says so in his own words.
            return
        with disk_errors("the decrypted recording"), tempfile.TemporaryFile(dir=scratch) as copy:
            with self.open() as file:
                shutil.copyfileobj(file, copy, _BLOCK)
            copy.flush()
            yield Path(f"/proc/self/fd/{copy.fileno()}")

    def _key(self) -> bytes | None:
        return None if self.keys is None else self.keys.get(self.job_id)

    def _no_key(self) -> DataKeyGone | MasterKeyMissing:
        if self.keys is None:
            return MasterKeyMissing(
                f"{self.name} is encrypted, and no master key is set.",
                "Set PIPELINE_ENCRYPTION_KEYS as it was when the job was submitted.",
            )
        return DataKeyGone(
            f"{self.name} is encrypted, and the key of its job was destroyed.", "Submit the recording again."
        )


class _Quiet(io.RawIOBase):
    """Reads a file, and keeps what goes wrong to itself."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.failure: EncryptedFileDamaged | OSError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        try:
            return self._file.readinto(buffer)  # type: ignore[attr-defined, no-any-return]
        except (EncryptedFileDamaged, OSError) as exc:
            self.failure = self.failure or exc
            return 0
