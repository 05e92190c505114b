"""Stretches of finished audio, for players: read to the sample, and packed one by one."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from pipeline.audio import FloatArray
from pipeline.codec.encode import to_integer

_BITS = 16


def read_stretch(source: Path | BinaryIO, start: int, stop: int) -> FloatArray:
    """Read samples ``start..stop`` of a file of ours whose format is lossless.

    Args:
        source: the file, or what reads its bytes.
        start: first sample.
        stop: one past the last.

    Returns:
        float32 (channels, stop - start); shorter where the file ends.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with soundfile.SoundFile(source) as file:
            file.seek(min(start, file.frames))
            samples: FloatArray = file.read(max(stop - start, 0), dtype="float32", always_2d=True)
    except soundfile.SoundFileError as exc:
        name = source.name if isinstance(source, Path) else "audio"
        raise OSError(f"{name} cannot be read: {exc}") from exc
    return np.ascontiguousarray(samples.T)


def pack_stretch(samples: FloatArray, sample_rate: int) -> bytes:
    """Write a stretch as a FLAC file of 16 bits; what exceeds full scale is clipped.

    Args:
        samples: float32 (channels, n), at least one sample.
        sample_rate: Hz.
    """
    packed = io.BytesIO()
    integers = to_integer(samples, _BITS).T
    soundfile.write(packed, integers, sample_rate, subtype=f"PCM_{_BITS}", format="FLAC")
    return packed.getvalue()
