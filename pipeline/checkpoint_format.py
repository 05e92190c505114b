"""What stands in a checkpoint: a header that says of what, then block after block.

Every block carries its place, its length and a CRC-32, so that what a kill or a loss of power has torn is
known.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from pipeline.audio import FloatArray

_MAGIC: Final = b"APCP1\n"
_HEAD: Final = struct.Struct("<II")
"""Length and CRC-32 of the binding, which follows as JSON."""
_RECORD: Final = struct.Struct("<QII")
"""Position of a block in samples, its samples per channel, and the CRC-32 of both and of the block."""
_PLACE: Final = struct.Struct("<QI")
_LONGEST_BINDING: Final = 1 << 20


def pack_header(binding: Mapping[str, Any], lead: tuple[int, ...], total: int) -> bytes:
    """The first bytes of a checkpoint: equal for separations that give equal blocks.

    Args:
        binding: JSON of everything that decides the blocks.
        lead: the axes of every block before the last, which is time.
        total: samples that all blocks add up to.
    """
    said = json.dumps({**binding, "lead": list(lead), "total": total}, sort_keys=True).encode()
    return _MAGIC + _HEAD.pack(len(said), zlib.crc32(said)) + said


def pack_record(position: int, block: FloatArray) -> bytes:
    """What stands before a block.

    Args:
        position: of its first sample.
        block: float32 (*lead, n), contiguous.
    """
    place = _PLACE.pack(position, block.shape[-1])
    return place + struct.pack("<I", zlib.crc32(raw_bytes(block), zlib.crc32(place)))


def raw_bytes(block: FloatArray) -> memoryview:
    """A contiguous block as it is written, without a copy."""
    return block.reshape(-1).view(np.uint8).data


def record_bytes(block: FloatArray) -> int:
    """What a block takes in the file."""
    return _RECORD.size + block.nbytes


def read_block(
    file: BinaryIO, lead: tuple[int, ...], position: int, total: int, left: int
) -> FloatArray | None:
    """Read the next block.

    Args:
        file: stands before it.
        lead: the axes of every block before the last.
        position: sample at which the block must begin.
        total: samples of all blocks.
        left: bytes from here to the end of the file.

    Returns:
        float32 (*lead, n); None when what is there is no such block.

    Raises:
        OSError: it cannot be read.
    """
    head = file.read(_RECORD.size)
    if len(head) < _RECORD.size:
        return None
    at, n, crc = _RECORD.unpack(head)
    size = math.prod(lead) * n * 4
    if at != position or not 0 < n <= total - position or size > left - _RECORD.size:
        return None
    raw = bytearray(size)
    if file.readinto(raw) < size or zlib.crc32(raw, zlib.crc32(head[: _PLACE.size])) != crc:  # type: ignore[attr-defined]
        return None
    return np.frombuffer(raw, dtype=np.float32).reshape(*lead, n)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block lies.

    Attributes:
        offset: of what stands before it, in bytes from the start of the file.
        position: of its first sample.
        samples: per channel.
        end: offset behind it.
    """

    offset: int
    position: int
    samples: int
    end: int


def read_header(file: BinaryIO) -> bytes | None:
    """Read the header; the file then stands before the first block.

    Returns:
        As `pack_header` makes it; None when there is none.

    Raises:
        OSError: it cannot be read.
    """
    head = file.read(len(_MAGIC) + _HEAD.size)
    if len(head) < len(_MAGIC) + _HEAD.size or not head.startswith(_MAGIC):
        return None
    length, crc = _HEAD.unpack(head[len(_MAGIC) :])
    said = file.read(min(length, _LONGEST_BINDING))
    return head + said if zlib.crc32(said) == crc else None


def read_binding(header: bytes) -> dict[str, Any]:
    """What a header says: the binding, ``lead`` and ``total``."""
    found: dict[str, Any] = json.loads(header[len(_MAGIC) + _HEAD.size :])
    return found


def places(file: BinaryIO, binding: Mapping[str, Any]) -> Iterator[Place]:
    """Find the blocks, one behind the other, as far as the file holds them whole. Their bytes are not read.

    Args:
        file: stands before the first block.
        binding: as `read_binding` gives it.

    Raises:
        OSError: it cannot be read.
    """
    sample_bytes = 4 * math.prod(binding["lead"])
    position, offset, size = 0, file.tell(), os.fstat(file.fileno()).st_size
    while position < binding["total"]:
        record = file.read(_RECORD.size)
        if len(record) < _RECORD.size:
            return
        at, n, _ = _RECORD.unpack(record)
        end = offset + _RECORD.size + sample_bytes * n
        if at != position or not n or end > size:
            return
        yield Place(offset, position, n, end)
        position, offset = position + n, file.seek(end)


def last_place(file: BinaryIO, binding: Mapping[str, Any]) -> Place | None:
    """The last of `places`; None when there is no block."""
    return next(iter(deque(places(file, binding), maxlen=1)), None)


def complete_identity(path: Path) -> str | None:
    """The identity of a checkpoint that has all its blocks; None when it has not.

    Blocks are counted and not read: whoever uses them checks each.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        header = read_header(file)
        if header is None:
            return None
        binding = read_binding(header)
        last = last_place(file, binding)
        size = os.fstat(file.fileno()).st_size
    whole = last is not None and last.end == size and last.position + last.samples == binding["total"]
    return identity(header) if whole else None


def identity(header: bytes) -> str:
    """A name for everything that has this header: hexadecimal, 64 digits."""
    return hashlib.sha256(header).hexdigest()
