"""Audio: the only way samples cross a module boundary."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

BLOCK_SAMPLES = 1 << 18
"""Samples per channel that are held in memory while a recording is walked through: 6 s at 44.1 kHz."""


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """A stretch of sound.

    The array may be a read-only memory map of a file, so that a recording of any length can be
    handed around: read it with `blocks` and `window`, which keep no more of it in memory than they return.

    Attributes:
        samples: float32 (channels, samples) linear amplitude, full scale -1..1 but not clipped.
        sample_rate: Hz.
        speakers: one label per channel (``FL``, ``FR``, ``FC``, ``LFE`` … as in `pipeline.layout`);
            empty when the recording does not say.
    """

    samples: FloatArray
    sample_rate: int
    speakers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.samples.ndim != 2 or self.samples.dtype != np.float32:
            raise TypeError(
                f"Audio needs float32 (channels, samples), got {self.samples.dtype} {self.samples.shape}"
            )

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.samples.shape[0])

    @property
    def length(self) -> int:
        """Number of samples per channel."""
        return int(self.samples.shape[1])

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.length / self.sample_rate

    def blocks(self, size: int = BLOCK_SAMPLES) -> Iterator[FloatArray]:
        """Walk through the samples in order.

        Args:
            size: samples per block; the last block may be shorter.

        Yields:
            float32 (channels, <= size), contiguous copies that the caller may change.
        """
        for start in range(0, self.length, size):
            yield self.window(start, min(start + size, self.length))

    def window(self, start: int, stop: int) -> FloatArray:
        """Read samples ``start..stop``; whatever lies outside the recording is zero.

        Returns:
            float32 (channels, stop - start), a contiguous copy.
        """
        out = np.zeros((self.channels, stop - start), dtype=np.float32)
        lo, hi = max(start, 0), min(stop, self.length)
        if lo < hi:
            out[:, lo - start : hi - start] = self.samples[:, lo:hi]
            release(self.samples)
        return out


def release(array: npt.NDArray[Any]) -> None:
    """Give the pages of a map back: what was read or written stays in the system's cache, not in ours."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None:
        mapped.madvise(mmap.MADV_DONTNEED)
