"""Faults and habits of the signal itself: offset, clipping, floor, silence, stereo image, bandwidth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.annotations import Annotation, SignalFigures, SignalQuality, Span
from pipeline.audio import Audio, FloatArray
from pipeline.estimators.base import Recording
from pipeline.estimators.frames import power_frames

FRAMES_PER_SECOND: Final = 10
SILENCE_DBFS: Final = -60.0
SHORTEST_SILENCE_S: Final = 0.5
FLOOR_QUANTILE: Final = 0.05
_DIGITAL_SILENCE: Final = 1e-12
"""Power, -120 dBFS: fades and gaps of an editor are no noise floor."""

FLAT_TOP: Final = 3
"""Samples in a row at one peak value: two meet by chance, three do so where the peak was cut off."""
LOUD: Final = 0.5
"""Linear amplitude: flat tops below are not of clipping, but of a quiet or a coarsely quantised signal."""
_MOST_CLIPPED: Final = 100
_MOST_SILENCES: Final = 1000

WINDOW: Final = 4096
BAND_HZ: Final = 200.0
"""Width over which the spectrum is averaged before its end is looked for."""
REACH_DB: Final = 90.0
"""A band so far below the strongest is empty: 16 bits with dither end there."""
CLIFF_DB: Final = 25.0
"""A fall so deep within `CLIFF_HZ` is no microphone's or loudspeaker's, but a filter's."""
CLIFF_HZ: Final = 1200.0
_LOWEST_CLIFF_HZ: Final = 3000.0
_BLOCKS: Final = 30
"""Stretches of the recording that the spectrum is taken from."""

Levels = npt.NDArray[np.float64]


class SignalEstimator:
    """Measures the mix and every stem in one walk each, and a second through samples of it."""

    name = "signal"
    method = "sample statistics, flat tops, 100 ms levels, and the edge of the long-term spectrum"
    version = "1"
    needs: tuple[str, ...] = ()
    budget = 0.2

    def estimate(self, recording: Recording, found: Mapping[str, Annotation]) -> SignalQuality:
        """Measure the mix and the stems.

        Args:
            recording: the mix and its stems.
            found: not used.

        Returns:
            SignalQuality; figures that are not defined are null.
        """
        return SignalQuality(
            method=self.method,
            version=self.version,
            source="mix",
            mix=_figures(recording.mix),
            stems={name: _figures(stem) for name, stem in recording.stems.items()},
        )


def _figures(audio: Audio) -> SignalFigures:
    totals = np.zeros(audio.channels)
    products = np.zeros((2, 2))
    clipped: list[tuple[int, int]] = []
    levels: list[Levels] = []
    rate = audio.sample_rate
    edges = np.rint(np.arange(FRAMES_PER_SECOND) * rate / FRAMES_PER_SECOND).astype(np.intp)
    for second, block in enumerate(audio.blocks(rate)):
        totals += block.sum(axis=1, dtype=np.float64)
        if audio.channels == 2:
            pair = block.astype(np.float64)
            products += pair @ pair.T
        cut = flat_tops(block)
        if cut:
            clipped.append((second, cut))
        starts = edges[edges < block.shape[1]]
        power = np.square(block, dtype=np.float64).mean(axis=0)
        levels.append(np.add.reduceat(power, starts) / np.diff(starts, append=block.shape[1]))
    power = np.concatenate(levels) if levels else np.zeros(0)
    silence = _spans(power < 10 ** (SILENCE_DBFS / 10), audio.duration_s)
    if audio.length:
        products -= np.outer(totals, totals) / audio.length if audio.channels == 2 else 0.0
    width, correlation = _image(products) if audio.channels == 2 else (None, None)
    bandwidth_hz, cliff = _bandwidth(audio)
    silent_s = sum(span.end_s - span.start_s for span in silence)
    return SignalFigures(
        dc_offset=round(float(np.abs(totals).max(initial=0.0)) / max(audio.length, 1), 6),
        clipped_samples=sum(count for _, count in clipped),
        clipped=_seconds([second for second, _ in clipped], audio.duration_s)[:_MOST_CLIPPED],
        noise_floor_dbfs=_floor(power),
        silence=silence[:_MOST_SILENCES],
        silent_fraction=round(min(silent_s / audio.duration_s, 1.0), 4) if audio.length else 0.0,
        width=width,
        correlation=correlation,
        bandwidth_hz=bandwidth_hz,
        band_limited=cliff,
    )


def flat_tops(block: FloatArray) -> int:
    """Count samples of peaks that were cut off.

    Args:
        block: float32 (channels, n).

    Returns:
        Samples in rows of `FLAT_TOP` or more of one value, at the channel's peak or within 1 % of it.
    """
    count = 0
    for channel in block:
        peak = float(np.abs(channel).max(initial=0.0))
        if peak < LOUD:
            continue
        same = (np.diff(channel) == 0) & (np.abs(channel[1:]) >= 0.99 * peak)
        edges = np.flatnonzero(np.diff(same.astype(np.int8), prepend=0, append=0))
        runs = edges[1::2] - edges[::2] + 1
        count += int(runs[runs >= FLAT_TOP].sum())
    return count


def _image(products: Levels) -> tuple[float | None, float | None]:
    """Width and correlation from the sums of products of left and right, each without its mean."""
    (left, both), (_, right) = products
    whole = left + right
    if whole <= 0:
        return None, None
    width = float(np.clip((whole - 2 * both) / (2 * whole), 0.0, 1.0))
    related = float(both / np.sqrt(left * right)) if left > 0 and right > 0 else 0.0
    return round(width, 4), round(float(np.clip(related, -1.0, 1.0)), 4)


def _floor(power: Levels) -> float | None:
    sounding = power[power > _DIGITAL_SILENCE]
    if not len(sounding):
        return None
    return round(float(10 * np.log10(np.quantile(sounding, FLOOR_QUANTILE))), 1)


def _spans(quiet: npt.NDArray[np.bool_], duration_s: float) -> list[Span]:
    edges = np.flatnonzero(np.diff(quiet.astype(np.int8), prepend=0, append=0)) / FRAMES_PER_SECOND
    ends = np.minimum(edges[1::2], duration_s)
    return [
        Span(start_s=round(start, 2), end_s=round(end, 3))
        for start, end in zip(edges[::2].tolist(), ends.tolist(), strict=True)
        if end - start >= SHORTEST_SILENCE_S
    ]


def _seconds(seconds: list[int], duration_s: float) -> list[Span]:
    """Join seconds that follow each other."""
    spans: list[Span] = []
    for second in seconds:
        end_s = round(min(second + 1.0, duration_s), 3)
        if spans and spans[-1].end_s == second:
            spans[-1] = Span(start_s=spans[-1].start_s, end_s=end_s)
        else:
            spans.append(Span(start_s=float(second), end_s=end_s))
    return spans


def _bandwidth(audio: Audio) -> tuple[float | None, bool | None]:
    """Where the long-term spectrum ends, in Hz, and whether it does so like a cliff."""
    blocks = max(audio.length // (WINDOW // 2 * 128), 1)
    power = sum(
        (frames.sum(axis=0) for frames in power_frames(audio, WINDOW, max(blocks // _BLOCKS, 1))), 0.0
    )
    if not np.any(power):
        return None, None
    per_band = max(round(BAND_HZ * WINDOW / audio.sample_rate), 1)
    bands = np.asarray(power)[1:]
    bands = bands[: len(bands) // per_band * per_band].reshape(-1, per_band).mean(axis=1)
    decibel = 10 * np.log10(np.maximum(bands, bands.max() * 1e-15))
    band_hz = per_band * audio.sample_rate / WINDOW
    reach = max(round(CLIFF_HZ / band_hz), 1)
    # The deepest fall within CLIFF_HZ from which the spectrum never rises again.
    best = 0.0, len(decibel)
    for at in range(round(_LOWEST_CLIFF_HZ / band_hz), len(decibel) - reach):
        fall = float(decibel[at] - decibel[at + reach :].max())
        if fall > best[0]:
            best = fall, at
    if best[0] >= CLIFF_DB:
        # Half-way down, in decibels.
        end = best[1] + int(np.argmax(decibel[best[1] :] < decibel[best[1]] - best[0] / 2))
        return round(end * band_hz, 0), True
    heard = np.flatnonzero(decibel > decibel.max() - REACH_DB)
    return round(float(heard[-1] + 1) * band_hz, 0), False
