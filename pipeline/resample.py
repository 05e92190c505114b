"""Sample-rate conversion of a stream of blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from pipeline.audio import FloatArray


def resample(
    blocks: Iterable[FloatArray], rate_in: int, rate_out: int, length_in: int, length_out: int | None = None
) -> Iterator[FloatArray]:
    """Convert a stream from one sample rate to another, without ever holding it whole.

    Uses libsoxr at its very high quality setting (linear phase, latency compensated), so time zero
    stays time zero.

    Args:
        blocks: float32 (channels, n) consecutive blocks.
        rate_in: Hz of the blocks.
        rate_out: Hz of the result.
        length_in: samples per channel that the blocks add up to.
        length_out: samples per channel wanted; None: `resampled_length`.

    Yields:
        float32 (channels, m) consecutive blocks of exactly the wanted length in all.
    """
    if rate_in == rate_out:
        yield from blocks
        return
    wanted = resampled_length(length_in, rate_in, rate_out) if length_out is None else length_out
    stream: soxr.ResampleStream | None = None
    made = 0
    seen = 0
    channels = 1
    for block in blocks:
        channels = block.shape[0]
        if stream is None:
            stream = soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality="VHQ")
        seen += block.shape[1]
        out = stream.resample_chunk(np.ascontiguousarray(block.T), last=seen >= length_in).T
        out = out[:, : wanted - made]
        made += out.shape[1]
        if out.shape[1]:
            yield np.ascontiguousarray(out)
    if made < wanted:
        # The last sample's right neighbour does not exist: rounding may leave one sample short.
        yield np.zeros((channels, wanted - made), dtype=np.float32)


def resampled_length(length: int, rate_in: int, rate_out: int) -> int:
    """Samples that ``length`` samples become: rounded up, so that a round trip never loses one."""
    return -(-length * rate_out // rate_in)
