"""A job's folder as one zip, made while it is sent: nothing is written to disk, nothing is held in memory."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

_CHUNK = 1 << 18


class _Pipe(io.RawIOBase):
    """Collects what zipfile writes until it is taken away."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        part = bytes(data)  # type: ignore[call-overload]
        self._parts.append(part)
        return len(part)

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


def stream_zip(files: Iterable[tuple[str, Path]]) -> Iterator[bytes]:
    """Zip files as a stream. Audio does not shrink, so nothing is compressed.

    Args:
        files: name in the archive, and where it lies.

    Yields:
        Consecutive bytes of the archive.
    """
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:
        for name, path in files:
            entry = zipfile.ZipInfo.from_file(path, name)
            with path.open("rb") as source, archive.open(entry, "w") as target:
                while chunk := source.read(_CHUNK):
                    target.write(chunk)
                    yield pipe.take()
            yield pipe.take()
    yield pipe.take()
