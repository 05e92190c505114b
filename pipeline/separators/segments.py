"""Segments of a long recording through a network and back together, as a stream.

The arithmetic is that of `demucs.apply.apply_model` (triangular weights, segments padded with the sound
around them, sums in order of time); only the bookkeeping is ours: a sample is given away once no later
segment reaches it, so memory is bounded by one segment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pipeline.audio import Audio, FloatArray

if TYPE_CHECKING:
    import torch

_Block = TypeVar("_Block", "torch.Tensor", FloatArray)


class NormalisedMix:
    """A recording as Demucs hears it: stereo pairs with mean 0 and standard deviation 1.

    The statistics are those of each pair's mono sum over the whole recording, as in demucs, collected in one
    walk through it.

    Args:
        mix: the recording at the network's sample rate.
        pairs: channel indices that are heard together.
    """

    def __init__(self, mix: Audio, pairs: tuple[tuple[int, int], ...]) -> None:
        self._mix = mix
        self.pairs = pairs
        self._left = [a for a, _ in pairs]
        self._right = [b for _, b in pairs]
        self.length = mix.length
        self.mean, self.std = self._statistics()

    def window(self, start: int, stop: int) -> torch.Tensor:
        """Read samples ``start..stop``, zero outside of the recording.

        Returns:
            float32 (pairs, 2, stop - start).
        """
        import torch

        lo, hi = max(start, 0), min(stop, self.length)
        out = np.zeros((len(self._left), 2, stop - start), dtype=np.float32)
        if lo < hi:
            block = self._mix.window(lo, hi)
            pairs = np.stack([block[self._left], block[self._right]], axis=1)
            out[:, :, lo - start : hi - start] = (pairs - self.mean) / self.std
        return torch.from_numpy(out)

    def restore(self, stems: FloatArray) -> FloatArray:
        """Undo the normalisation and bring pairs back to channels.

        Args:
            stems: float32 (pairs, stems, 2, n) normalised.

        Returns:
            float32 (stems, channels, n) at the mix's level. Every stem gets the mix's mean, as in demucs.
        """
        return to_channels(stems * self.std[:, None] + self.mean[:, None], self.pairs)

    def _statistics(self) -> tuple[FloatArray, FloatArray]:
        total = np.zeros(len(self._left))
        squares = np.zeros(len(self._left))
        for block in self._mix.blocks():
            mono = 0.5 * (block[self._left].astype(np.float64) + block[self._right])
            total += mono.sum(axis=1)
            squares += (mono**2).sum(axis=1)
        mean = total / self.length
        # Unbiased, as torch.std; 1e-8 as demucs adds it, so that a silent pair stays silent.
        variance = np.maximum(squares - self.length * mean**2, 0.0) / max(self.length - 1, 1)
        shape = (len(self._left), 1, 1)
        return (
            mean.reshape(shape).astype(np.float32),
            (np.sqrt(variance) + 1e-8).reshape(shape).astype(np.float32),
        )


def to_channels(stems: FloatArray, pairs: Sequence[tuple[int, int]]) -> FloatArray:
    """Bring pairs back to channels.

    Args:
        stems: float32 (pairs, stems, 2, n).
        pairs: channel indices that were heard together.

    Returns:
        float32 (stems, channels, n).
    """
    channels = len({channel for pair in pairs for channel in pair})
    out = np.empty((stems.shape[1], channels, stems.shape[3]), dtype=np.float32)
    for pair, (left, right) in enumerate(pairs):
        if left == right:
            out[:, left] = stems[pair].mean(axis=1)
        else:
            out[:, left], out[:, right] = stems[pair, :, 0], stems[pair, :, 1]
    return out


def padded_window(mix: NormalisedMix, start: int, length: int, wanted: int) -> torch.Tensor:
    """Read a segment with the sound around it, centred: demucs' ``TensorChunk.padded``.

    Returns:
        float32 (pairs, 2, wanted).
    """
    begin = start - (wanted - length) // 2
    return mix.window(begin, begin + wanted)


def segment_places(
    start: int, stop: int, segment: int, overlap: float, first: int = 0
) -> Iterator[tuple[int, int]]:
    """Cut a stretch into overlapping segments.

    Args:
        start: first sample, may be negative.
        stop: one past the last sample.
        segment: samples of a segment.
        overlap: share of a segment that the next one covers too, 0..1.
        first: segment to begin with, of the same grid; see `first_segment`.

    Yields:
        Position of each segment, and its samples.
    """
    stride = segment_stride(segment, overlap)
    for position in range(start + first * stride, stop, stride):
        yield position, min(stop - position, segment)


def overlap_add(
    outputs: Iterable[torch.Tensor], samples: int, segment: int, overlap: float
) -> Iterator[torch.Tensor]:
    """Add up what a network made of overlapping segments.

    Args:
        outputs: float32 (pairs, stems, 2, n) of each of `segment_places`.
        samples: from the first segment's start to the last one's end.
        segment: samples of a segment.
        overlap: share of a segment that the next one covers too, 0..1.

    Yields:
        float32 (pairs, stems, 2, n) consecutive blocks that cover the samples.
    """
    import torch

    stride = segment_stride(segment, overlap)
    ramp = torch.cat([torch.arange(1, segment // 2 + 1), torch.arange(segment - segment // 2, 0, -1)])
    weight = ramp / ramp.max()
    summed: torch.Tensor | None = None
    weights = torch.zeros(segment)
    left = samples
    for out in outputs:
        n = out.shape[-1]
        if summed is None:
            summed = torch.zeros(*out.shape[:-1], segment)
        summed[..., :n] += weight[:n] * out
        weights[:n] += weight[:n]
        ready = min(stride, left)
        yield summed[..., :ready] / weights[:ready]
        summed = torch.nn.functional.pad(summed[..., ready:], (0, ready))
        weights = torch.nn.functional.pad(weights[ready:], (0, ready))
        left -= ready


def segment_stride(segment: int, overlap: float) -> int:
    """Samples from the start of one segment to the next."""
    return max(int((1 - overlap) * segment), 1)


def first_segment(position: int, segment: int, stride: int) -> int:
    """The first segment that reaches a sample.

    The sums of `overlap_add` at that sample and after it are the same bits when it begins there.

    Args:
        position: sample, counted from the start of the first segment.
        segment: samples of a segment.
        stride: samples from the start of one segment to the next.
    """
    return max((position - segment) // stride + 1, 0)


def skip(stream: Iterator[torch.Tensor], samples: int) -> Iterator[torch.Tensor]:
    """Drop the first samples of a stream of blocks (..., n)."""
    for block in stream:
        cut = min(samples, block.shape[-1])
        samples -= cut
        if cut < block.shape[-1]:
            yield block[..., cut:]


def lockstep(streams: list[Iterator[_Block]]) -> Iterator[list[_Block]]:
    """Walk through several streams of equal length whose blocks end at different places.

    Yields:
        One block (..., n) a stream, all of the same length.
    """
    held: list[_Block | None] = [None] * len(streams)
    while True:
        for i, stream in enumerate(streams):
            if held[i] is None:
                held[i] = next(stream, None)
        blocks = [block for block in held if block is not None]
        if len(blocks) < len(streams):
            return
        n = min(block.shape[-1] for block in blocks)
        yield [block[..., :n] for block in blocks]
        held = [block[..., n:] if block.shape[-1] > n else None for block in blocks]
