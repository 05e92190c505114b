"""Recordings decoded to be listened to: cut into parts, so that a player begins before the end is decoded.

A folder holds the parts of one file, ``0.flac``, ``1.flac`` …, and ``index.json``, which says what they are
and, once all of them are there, how many samples they have. Whoever fills it holds a lock on it. A fill that
was killed is taken up by the next one, for the same file gives the same parts. What was used longest ago goes
first.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from api.encryption.stored import Stored
from pipeline.audio import FloatArray
from pipeline.codec.decode import decoded_blocks
from pipeline.codec.probe import probe
from pipeline.codec.source import open_source
from pipeline.codec.stretch import pack_stretch
from pipeline.config import Limits
from pipeline.errors import DiskFull
from pipeline.preview import fold
from pipeline.resample import resample
from pipeline.scratch import disk_errors, write_durably

log = logging.getLogger(__name__)

PART_S: Final = 5
"""Seconds of a part. The first is there as soon as a network has made its first 5.85 s."""
DEFAULT_CACHE_BYTES: Final = 1 << 30
"""About three hours of stereo."""
_INDEX: Final = "index.json"


@dataclass(frozen=True, slots=True)
class Index:
    """What the parts of a folder are.

    Attributes:
        sample_rate: Hz.
        channels: 1 or 2.
        samples: of all parts together; None until the last one is there.
    """

    sample_rate: int
    channels: int
    samples: int | None


@dataclass(frozen=True, slots=True)
class Coded:
    """A file that has to be decoded from its start.

    Attributes:
        source: the file.
        folder: of its parts.
        sha256: of its bytes.
        length: samples that it holds; None where only decoding tells. A lossy codec pads the end.
        sample_rate: that the parts shall have; None: the file's own.
        samples: that the parts shall have.
    """

    source: Stored
    folder: Stored
    sha256: str
    length: int | None = None
    sample_rate: int | None = None
    samples: int | None = None


def folder_name(name: str, sha256: str) -> str:
    """The name of the folder of a file's parts: another one for other parts."""
    return f"{name}-{sha256[:16]}-{PART_S}"


def read_index(folder: Path) -> Index | None:
    """What is known of a folder's parts; None while nothing is."""
    try:
        return Index(**json.loads((folder / _INDEX).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def count(folder: Path) -> int:
    """How many parts are there."""
    return sum(1 for _ in folder.glob("*.flac"))


def part_file(folder: Stored, number: int) -> Stored:
    """A part, there or not."""
    return folder / f"{number}.flac"


def read_part(folder: Stored, number: int) -> bytes | None:
    """A part; None while it is not there."""
    try:
        found = part_file(folder, number).read()
        os.utime(folder.path)
    except FileNotFoundError:
        return None
    return found


def fill(coded: Coded, limits: Limits, reserve: int, stop: threading.Event) -> None:
    """Decode a file into parts; those that are there already stay. Nothing, while another does it.

    Args:
        coded: the file.
        limits: bounds on decoding.
        reserve: bytes that stay free on the disk.
        stop: set it to give up; the next fill goes on.

    Raises:
        PipelineError: it cannot be decoded, or written.
    """
    with disk_errors("what is listened to"):
        folder = coded.folder.path
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(folder) as ours:
            if not ours:
                return
            with (
                coded.source.in_the_clear(folder) as path,
                open_source(path, limits, coded.source.path.name, coded.sha256) as source,
            ):
                probed = probe(source, limits, accept_damaged=True)
                rate = coded.sample_rate or probed.sample_rate
                known = Index(rate, min(probed.channels, 2), None)
                write_durably(folder / _INDEX, json.dumps(asdict(known)).encode())
                with closing(decoded_blocks(source, probed, limits)) as decoded:
                    blocks: Iterator[FloatArray] = (fold(block, probed.speakers) for block in decoded)
                    if coded.length is not None:
                        blocks = _exactly(blocks, coded.length)
                        blocks = resample(blocks, probed.sample_rate, rate, coded.length, coded.samples)
                    made = 0
                    for number, part in enumerate(_cut(blocks, PART_S * rate)):
                        if stop.is_set():
                            return
                        made += part.shape[1]
                        _write_part(part_file(coded.folder, number), part, rate, reserve)
            done = Index(known.sample_rate, known.channels, made)
            write_durably(folder / _INDEX, json.dumps(asdict(done)).encode())


def prune(root: Path, most: int) -> int:
    """Keep what was listened to last, as far as it fits; the very last one always.

    Args:
        root: ``<root>/<job_id>/<folder of parts>``.
        most: bytes.

    Returns:
        How many folders went.
    """
    folders = sorted(((_used(path), path) for path in root.glob("*/*")), reverse=True)
    total = gone = 0
    for place, (_, folder) in enumerate(folders):
        total += sum(_size(path) for path in folder.glob("*"))
        if place and total > most:
            with suppress(FileNotFoundError), _locked(folder) as ours:
                if ours:
                    shutil.rmtree(folder, ignore_errors=True)
                    gone += 1
            with suppress(OSError):  # Unless it holds others.
                folder.parent.rmdir()
    return gone


def _write_part(stored: Stored, part: FloatArray, sample_rate: int, reserve: int) -> None:
    if stored.path.exists():
        return
    if shutil.disk_usage(stored.path.parent).free < reserve:
        raise DiskFull("There is no room for what is listened to.", "Free some space and try again.")
    stored.write(pack_stretch(part, sample_rate), durably=True)


def _cut(blocks: Iterator[FloatArray], size: int) -> Iterator[FloatArray]:
    """Cut blocks (channels, n) anew, ``size`` samples each; the last may be shorter."""
    held: list[FloatArray] = []
    missing = size
    for given in blocks:
        block = given
        while block.shape[1] >= missing:
            yield np.concatenate([*held, block[:, :missing]], axis=1)
            block = block[:, missing:]
            held, missing = [], size
        if block.shape[1]:
            held.append(block)
            missing -= block.shape[1]
    if held:
        yield np.concatenate(held, axis=1)


def _exactly(blocks: Iterator[FloatArray], length: int) -> Iterator[FloatArray]:
    """Cut or fill a stream at its end."""
    left, channels = length, 1
    for block in blocks:
        channels = block.shape[0]
        cut = block[:, :left]
        left -= cut.shape[1]
        if cut.shape[1]:
            yield cut
    if left:
        yield np.zeros((channels, left), dtype=np.float32)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Lock a folder as long as this process lives.

    Yields:
        Whether it is ours: not when another has it, nor when it was removed in this moment.
    """
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        ours = False
        with suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = os.path.samestat(os.stat(folder), os.fstat(lock))
        yield ours
    finally:
        os.close(lock)


def _used(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
