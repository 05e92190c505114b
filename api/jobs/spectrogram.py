"""A picture of a track: time to the right, pitch upwards on a logarithmic scale, level as colour."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from api.encryption.errors import EncryptedFileDamaged
from api.encryption.stored import Stored
from api.jobs.listening import Whole
from api.jobs.peaks import keep
from pipeline.audio import FloatArray

MOST_COLUMNS, MOST_ROWS = 4000, 1000
_FRAME_S: Final = 0.093
"""Length of a frame in seconds: 4,096 samples at 44.1 kHz."""
_LOWEST_HZ: Final = 30.0
_HIGHEST_HZ: Final = 20_000.0
_FLOOR_DB, _CEILING_DB = -90.0, -10.0
"""Of a sine at full scale. Equal for all tracks, so that they compare."""
_AT_ONCE: Final = 128
"""Frames transformed together."""
_MAGMA: Final = "000004 180f3e 451077 721f81 9f2f7f cd4071 f1605d fd9567 fec98d fcfdbf"
"""Ten steps of the colour map magma, by Nathaniel Smith and Stéfan van der Walt; CC0 1.0 (public domain)."""


def spectrogram(whole: Whole, width: int, height: int, cache: Stored) -> bytes:
    """Draw a track, or take what was drawn before.

    Args:
        whole: the track.
        width: in pixels; of a recording of fewer samples, as many as it has.
        height: in pixels.
        cache: folder of the job's pictures.

    Returns:
        A PNG file.
    """
    kept = cache / f"{whole.sha256[:16]}-{width}x{height}.png"
    try:
        return kept.read()
    except (OSError, EncryptedFileDamaged):
        pass
    power, bin_hz = _power(whole, width)
    level = 10.0 * np.log10(np.maximum(_rows(power, bin_hz, height), 1e-12))
    share = (level - _FLOOR_DB) / (_CEILING_DB - _FLOOR_DB)
    picture = _png(np.rint(255.0 * share.clip(0.0, 1.0)).astype(np.uint8))
    keep(kept, picture)
    return picture


def _power(whole: Whole, width: int) -> tuple[FloatArray, float]:
    """The largest power of each pitch in each column, where a sine at full scale has 1.

    Returns:
        float32 (columns, bins), and the width of a bin in Hz.
    """
    size = int(2 ** round(np.log2(_FRAME_S * whole.sample_rate)))
    per_column = max(-(-whole.samples // width), 1)
    columns = -(-whole.samples // per_column)
    hop = per_column // -(-per_column // (size // 2))
    power = np.zeros((columns, size // 2 + 1), dtype=np.float32)
    window = np.hanning(size).astype(np.float32)
    full = (float(window.sum()) / 2.0) ** 2
    first = 0
    for frames in _frames(whole.blocks, size, hop):
        heard = np.fft.rfft(frames * window, axis=-1)
        loudness = ((heard.real**2 + heard.imag**2) / full).mean(axis=0)
        column = np.minimum(np.arange(first, first + len(loudness)) * hop // per_column, columns - 1)
        np.maximum.at(power, column, loudness.astype(np.float32))
        first += len(loudness)
    return power, whole.sample_rate / size


def _frames(blocks: Iterator[FloatArray], size: int, hop: int) -> Iterator[FloatArray]:
    """Cut a stream into frames: the middle of the first is the first sample, the next one a hop later.

    Yields:
        float32 (channels, frames, size), at most `_AT_ONCE` frames.
    """
    held: FloatArray | None = None
    for block in _padded(blocks, size // 2):
        held = block if held is None else np.concatenate([held, block], axis=1)
        while held.shape[1] >= size:
            there = (held.shape[1] - size) // hop + 1
            views = np.lib.stride_tricks.sliding_window_view(held, size, axis=1)
            now = min(there, _AT_ONCE)
            yield views[:, : now * hop : hop]
            held = held[:, now * hop :]


def _padded(blocks: Iterator[FloatArray], around: int) -> Iterator[FloatArray]:
    channels = 0
    for block in blocks:
        if not channels:
            channels = len(block)
            yield np.zeros((channels, around), dtype=np.float32)
        yield block
    yield np.zeros((channels or 1, around), dtype=np.float32)


def _rows(power: FloatArray, bin_hz: float, height: int) -> FloatArray:
    """Bring bins to rows of equal musical height, the highest first: float32 (height, columns)."""
    last = power.shape[1] - 1
    edges = np.geomspace(_LOWEST_HZ, min(_HIGHEST_HZ, last * bin_hz), height + 1) / bin_hz
    rows = np.empty((height, len(power)), dtype=np.float32)
    for row, (low, high) in enumerate(pairwise(edges)):
        begin, end = int(np.ceil(low)), int(np.ceil(high))
        if begin < end:
            rows[height - 1 - row] = power[:, begin:end].max(axis=1)
            continue
        # Low down a row is less than a bin: between its neighbours.
        middle = min((low + high) / 2.0, last)
        below = min(int(middle), last - 1)
        share = middle - below
        rows[height - 1 - row] = power[:, below] * (1.0 - share) + power[:, below + 1] * share
    return rows


def _png(levels: npt.NDArray[np.uint8]) -> bytes:
    """Write uint8 (height, width) as a PNG with a palette (ISO/IEC 15948)."""
    height, width = levels.shape
    steps = np.array([list(bytes.fromhex(colour)) for colour in _MAGMA.split()])
    at = np.linspace(0, len(steps) - 1, 256)
    palette = np.stack([np.interp(at, np.arange(len(steps)), channel) for channel in steps.T], axis=1)
    lines = np.concatenate([np.zeros((height, 1), dtype=np.uint8), levels], axis=1)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _section(kind, data)
        for kind, data in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            (b"PLTE", np.rint(palette).astype(np.uint8).tobytes()),
            (b"IDAT", zlib.compress(lines.tobytes())),
            (b"IEND", b""),
        )
    )


def _section(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
