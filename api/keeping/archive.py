"""The format of a backup: a tar file that ends with the list of what it holds, and the sum of each file.

::

    database/pipeline.db              every table, as an SQLite file, also where the service uses PostgreSQL
    secret                            the server's, where it is not a setting
    outputs/<job_id>/manifest.json    of every job that has one
    outputs/<job_id>/stems/…          and all other files of the result: in a full backup
    uploads/<job_id>/input            recordings: of jobs that have not ended; in a full backup of all
    erased/<job_id>.json              tombstones: what was erased and must not come back
    backup.json                       `Contents`: without it a backup is none

Plain files are gzipped in several members (RFC 1952, 2.2), which every gzip reads as one stream: audio does
not shrink and is stored as it is, texts and tables are compressed.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.keeping.errors import BackupDamaged

Kind = Literal["manifests", "full"]

DATABASE: Final = "database/pipeline.db"
SECRET: Final = "secret"  # noqa: S105 - a file's name
CONTENTS: Final = "backup.json"
_NAME: Final = re.compile(
    r"database/pipeline\.db|secret|backup\.json|erased/[\w-]{1,64}\.json|uploads/[\w-]{1,64}/input"
    r"|outputs/[\w-]{1,64}/(?!\.\.?/)[^/\0]+(?:/(?!\.\.?(?:/|$))[^/\0]+)*"
)
_BLOCK: Final = 1 << 20
_MOST_CONTENTS: Final = 1 << 30


class Held(BaseModel):
    """A file in a backup."""

    model_config = ConfigDict(frozen=True)

    path: str
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Contents(BaseModel):
    """What a backup holds: its last file."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    kind: Kind
    created_at: datetime = Field(
        description="When the database was read: what was accepted later is not there."
    )
    software: str
    files: tuple[Held, ...]


class Writer:
    """Writes a backup to a stream.

    Args:
        out: takes bytes in order.
        pack: told before each file whether it shrinks.
    """

    def __init__(self, out: io.RawIOBase | IO[bytes], pack: Callable[[bool], None] = lambda _: None) -> None:
        self._tar = tarfile.TarFile(
            fileobj=cast(Any, _Counted(out)),
            mode="w",
            format=tarfile.PAX_FORMAT,
            copybufsize=_BLOCK,
        )
        self._pack = pack
        self.held: list[Held] = []

    def add(self, name: str, path: Path, most: int | None = None) -> bool:
        """Take in a file.

        Args:
            name: in the backup.
            path: where it lies.
            most: take only so many of its bytes.

        Returns:
            Whether it is there; one that went meanwhile was expired, erased or replaced.

        Raises:
            OSError: it cannot be read.
        """
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return False
        with file:
            size = os.fstat(file.fileno()).st_size
            self.add_stream(name, file, size if most is None else min(most, size))
        return True

    def add_stream(self, name: str, file: Any, size: int) -> None:
        """Take in so many bytes of an open file."""
        self._pack(name.endswith((".json", ".db", ".csv")))
        hashing = _Hashing(file)
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o600
        self._tar.addfile(info, hashing)
        self.held.append(Held(path=name, bytes=size, sha256=hashing.sha256()))

    def add_bytes(self, name: str, data: bytes) -> None:
        """Take in a file that is in memory."""
        self.add_stream(name, io.BytesIO(data), len(data))

    def close(self, kind: Kind, created_at: datetime, software: str) -> Contents:
        """End the backup with the list of what it holds."""
        contents = Contents(kind=kind, created_at=created_at, software=software, files=tuple(self.held))
        self.add_bytes(CONTENTS, contents.model_dump_json(indent=1).encode())
        self._tar.close()
        return contents


class Packed(io.RawIOBase):
    """Gzips a stream in members, each of its own level.

    Args:
        out: where it goes; stays open.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._level = 6
        self._member = self._begun()

    def pack(self, shrinks: bool) -> None:
        """Say whether what comes now gets smaller by being packed."""
        level = 6 if shrinks else 0
        if level != self._level:
            self._member.close()
            self._level = level
            self._member = self._begun()

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any, /) -> int:
        """Take bytes in."""
        return self._member.write(data)

    def close(self) -> None:
        """End the last member; the stream below stays open."""
        if not self.closed:
            self._member.close()
        super().close()

    def _begun(self) -> gzip.GzipFile:
        # No name and no time: equal contents give equal files.
        return gzip.GzipFile("", "wb", self._level, self._out, mtime=0)


@contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """The tar stream in a gzipped file."""
    with path.open("rb", buffering=_BLOCK) as file, gzip.GzipFile(fileobj=file) as stream:
        yield io.BufferedReader(stream, _BLOCK)


def read(
    stream: BinaryIO, take: Callable[[str, BinaryIO, int], None] | None = None, *, name: str = "the backup"
) -> Contents:
    """Read a backup from start to end, comparing every sum.

    Args:
        stream: the tar, unpacked.
        take: given name, bytes and size of every file but the last, in order; what it leaves unread is
            read after it. What it is given is not yet known to be whole.
        name: of the backup, for messages.

    Returns:
        What it holds, all of it as it was written.

    Raises:
        BackupDamaged: it is cut short, or something in it is not as it was written.
    """
    seen: list[Held] = []
    contents = None
    with _explained(name), tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK) as tar:
        for info in tar:
            file = tar.extractfile(info) if info.isreg() and _NAME.fullmatch(info.name) else None
            if file is None or contents is not None:
                raise BackupDamaged(f"{name} holds something that no backup holds.", _HINT)
            if info.name == CONTENTS:
                contents = Contents.model_validate_json(file.read(_MOST_CONTENTS))
                continue
            hashing = _Hashing(file)
            if take is not None:
                take(info.name, hashing, info.size)  # type: ignore[arg-type]
            while hashing.read(_BLOCK):
                pass
            seen.append(Held(path=info.name, bytes=hashing.bytes, sha256=hashing.sha256()))
    if contents is None:
        raise BackupDamaged(f"{name} is cut short.", _HINT)
    if list(contents.files) != seen:
        wrong = next((a.path for a, b in zip(contents.files, seen, strict=False) if a != b), "a file")
        raise BackupDamaged(f"{name} is damaged: {wrong} is not as it was written.", _HINT)
    return contents


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except ValidationError as exc:
        raise BackupDamaged(f"{name} is damaged: its list makes no sense.", _HINT) from exc
    except (tarfile.TarError, EOFError, zlib.error, ValueError) as exc:
        raise BackupDamaged(f"{name} is damaged: {exc}.", _HINT) from exc
    except OSError as exc:
        if exc.errno is not None:  # Of the disk; what gzip finds wrong has no number.
            raise
        raise BackupDamaged(f"{name} is damaged: {exc}.", _HINT) from exc


_HINT: Final = "Use another backup: python -m api backup --list shows them."


class _Hashing:
    """Reads a file and hashes what was read."""

    def __init__(self, file: Any) -> None:
        self._file, self._hash, self.bytes = file, hashlib.sha256(), 0

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(size)
        self._hash.update(data)
        self.bytes += len(data)
        return data

    def sha256(self) -> str:
        return self._hash.hexdigest()


class _Counted:
    """What tarfile needs of a file that can only be written to."""

    def __init__(self, out: Any) -> None:
        self._out, self._at = out, 0

    def write(self, data: bytes) -> int:
        self._out.write(data)
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        return self._at
