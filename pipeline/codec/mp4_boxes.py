"""The boxes that an MP4 file is made of (ISO/IEC 14496-12): what ffmpeg does not write is added here."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pipeline.scratch import disk_errors

_ENABLED = 1
"""Flag of a track header: the track is played."""


def add_user_data(path: Path, kind: bytes, data: bytes, *, enabled_tracks: int) -> None:
    """Add a box to ``moov/udta``, and switch on the first tracks alone.

    Args:
        path: an MP4 file that ends with its ``moov``, as ffmpeg writes it: nothing else moves then.
        kind: four letters, the box's name.
        data: what it holds.
        enabled_tracks: how many tracks are played unless the listener chooses otherwise.

    Raises:
        ValueError: the file does not end with a ``moov``.
        DiskFull: no space left.
        OutputUnwritable: the file cannot be written.
    """
    with disk_errors(path.name), path.open("r+b") as file:
        start = _last_moov(file)
        file.seek(start)
        body = bytearray(file.read()[8:])
        for number, at in enumerate(_track_headers(body)):
            flags = int.from_bytes(body[at + 1 : at + 4], "big")
            flags = flags | _ENABLED if number < enabled_tracks else flags & ~_ENABLED
            body[at + 1 : at + 4] = flags.to_bytes(3, "big")
        boxes = list(_boxes(body))
        found = next(((a, b) for name, a, b in boxes if name == b"udta"), None)
        kept = b"" if found is None else bytes(body[found[0] : found[1]])
        rest = b"".join(bytes(body[a - 8 : b]) for name, a, b in boxes if name != b"udta")
        file.seek(start)
        file.write(_box(b"moov", rest + _box(b"udta", _box(kind, data) + kept)))
        file.truncate()


def _last_moov(file: BinaryIO) -> int:
    """Where the box starts that ends the file."""
    end, at = file.seek(0, 2), 0
    while at < end:
        file.seek(at)
        size, name = struct.unpack(">I4s", file.read(8))
        if size == 1:  # A 64-bit length follows: the audio of a long recording.
            size = int.from_bytes(file.read(8), "big")
        if name == b"moov" and at + size == end:
            return at
        if size < 8:
            break
        at += size
    raise ValueError("the file does not end with its index")


def _boxes(body: bytearray, start: int = 0, stop: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Boxes in a stretch of bytes: name, where the content begins, and where it ends."""
    end = len(body) if stop is None else stop
    while start + 8 <= end:
        size, name = struct.unpack_from(">I4s", body, start)
        if size < 8:
            return
        yield name, start + 8, start + size
        start += size


def _track_headers(body: bytearray) -> Iterator[int]:
    for name, start, stop in _boxes(body):
        if name == b"trak":
            for inner, at, _ in _boxes(body, start, stop):
                if inner == b"tkhd":
                    yield at


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content
