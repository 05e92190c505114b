"""When each stem sounds, and which are silent."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pipeline.annotations import Activity, Annotation, Shares, Span, StemActivity
from pipeline.audio import Audio
from pipeline.estimators.base import Recording
from pipeline.loudness import k_weighting

FRAMES_PER_SECOND = 50
SMOOTHING_S = 0.06

OPEN_DB, CLOSE_DB = -25.0, -35.0
"""Relative to the stem's own typical level: starts to sound, and has faded away."""

BLEED_DB, BLEED_SPAN_S = -30.0, 3.0
"""A stem so far below the mix of the surrounding seconds holds what leaked into it."""

FLOOR_DB = -60.0
"""Relative to the mix's typical level: never more than the hiss between two passages."""

BRIDGE_S = 1.0
REST_MARGIN_S, LEAST_REST_S = 0.5, 1.0
"""Bleed is measured so far from where the stem sounds, and only where there is so much to measure."""

MOST_POINTS = 600
"""Of the curve of shares."""

SHORTEST_S = 0.1
_TINY = 1e-20

Curve = npt.NDArray[np.float64]


class ActivityEstimator:
    """A gate with hysteresis on the K-weighted level of every stem.

    A stem sounds from where it comes near its own typical level until it has faded away, unless the
    mix around it is so much louder that what is left is bleed. Pauses shorter than a second are
    bridged: a drummer between two hits and a singer drawing breath are still at it. With stems that
    htdemucs separated, bass and drums of the development set are found with F .99 by the frame.
    """

    name = "activity"
    method = "gate with hysteresis on K-weighted level, relative to the stem itself and to the mix"
    version = "2"
    needs: tuple[str, ...] = ()
    budget = 0.2

    def estimate(self, recording: Recording, found: Mapping[str, Annotation]) -> Activity:
        """Find the active spans of every stem.

        Args:
            recording: the mix and its stems.
            found: not used.

        Returns:
            Activity, with no entries where nothing was separated.
        """
        stems: dict[str, StemActivity] = {}
        powers: dict[str, Curve] = {}
        if recording.stems:
            mix, mix_energy = _levels(recording.mix)
            for name, stem in recording.stems.items():
                powers[name], energy = _levels(stem)
                stems[name] = _activity(powers[name], mix, stem.duration_s, _ratio_db(energy, mix_energy))
        return Activity(
            method=self.method,
            version=self.version,
            source="+".join(recording.stems) or "mix",
            stems=stems,
            shares=_shares(powers) if powers else None,
        )


def _levels(audio: Audio) -> tuple[Curve, float]:
    """K-weighted power of 20 ms frames, summed over channels, and the plain energy of the whole.

    Returns:
        float64 (frames,); and the sum of squared samples.
    """
    from scipy.signal import sosfilt

    rate = audio.sample_rate
    sections = k_weighting(rate)
    state = np.zeros((len(sections), audio.channels, 2))
    edges = np.rint(np.arange(FRAMES_PER_SECOND) * rate / FRAMES_PER_SECOND).astype(np.intp)
    pieces, energy = [np.zeros(0)], 0.0
    for block in audio.blocks(rate):
        energy += float(np.square(block, dtype=np.float64).sum())
        weighted, state = sosfilt(sections, block, axis=1, zi=state)
        # Denormal numbers in the ringing of a filter through silence cost 50x the time.
        state[np.abs(state) < 1e-60] = 0.0
        starts = edges[edges < block.shape[1]]
        lengths = np.diff(starts, append=block.shape[1])
        pieces.append(np.add.reduceat(np.square(weighted).sum(axis=0), starts) / lengths)
    return np.concatenate(pieces), energy


def _activity(power: Curve, mix: Curve, duration_s: float, energy_db: float | None) -> StemActivity:
    from scipy.ndimage import uniform_filter1d

    level = uniform_filter1d(power, round(SMOOTHING_S * FRAMES_PER_SECOND))
    around = uniform_filter1d(mix, round(BLEED_SPAN_S * FRAMES_PER_SECOND))
    audible = level > np.maximum(_gain(BLEED_DB) * around, _gain(FLOOR_DB) * _typical(mix)) + _TINY
    reference = _typical(power)
    open_ = audible & (level >= _gain(OPEN_DB) * reference)
    sounding = audible & (level >= _gain(CLOSE_DB) * reference)
    spans: list[tuple[int, int]] = []
    edges = np.flatnonzero(np.diff(sounding.astype(np.int8), prepend=0, append=0))
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if not open_[start:stop].any():
            continue
        if spans and start - spans[-1][1] <= BRIDGE_S * FRAMES_PER_SECOND:
            spans[-1] = (spans[-1][0], stop)
        else:
            spans.append((start, stop))
    active = [
        Span(
            start_s=round(start / FRAMES_PER_SECOND, 2),
            end_s=round(min(stop / FRAMES_PER_SECOND, duration_s), 3),
        )
        for start, stop in spans
        if stop - start >= SHORTEST_S * FRAMES_PER_SECOND
    ]
    sounds_s = sum(span.end_s - span.start_s for span in active)
    return StemActivity(
        silent=not active,
        active_fraction=round(min(sounds_s / duration_s, 1.0), 4) if duration_s > 0 else 0.0,
        energy_db=energy_db,
        active=active,
        bleed_db=_bleed_db(power, mix, spans),
    )


def _bleed_db(power: Curve, mix: Curve, spans: list[tuple[int, int]]) -> float | None:
    """Level of a stem relative to the mix where the mix sounds and the stem does not."""
    rests = mix > _gain(FLOOR_DB) * _typical(mix) + _TINY
    margin = round(REST_MARGIN_S * FRAMES_PER_SECOND)
    for start, stop in spans:
        rests[max(start - margin, 0) : stop + margin] = False
    if np.count_nonzero(rests) < LEAST_REST_S * FRAMES_PER_SECOND:
        return None
    return _ratio_db(float(power[rests].sum()), float(mix[rests].sum()))


def _shares(powers: Mapping[str, Curve]) -> Shares:
    """Thin power to means over steps, and divide by the sum of all stems."""
    frames = len(next(iter(powers.values())))
    size = max(-(-frames // MOST_POINTS), FRAMES_PER_SECOND // 10)
    starts = np.arange(0, frames, size)
    steps = {name: np.add.reduceat(power, starts) if frames else power for name, power in powers.items()}
    whole = np.sum(list(steps.values()), axis=0)
    return Shares(
        step_s=size / FRAMES_PER_SECOND,
        stems={
            name: [
                round(min(float(part / all_), 1.0), 3) if all_ > size * _TINY else None
                for part, all_ in zip(step, whole, strict=True)
            ]
            for name, step in steps.items()
        },
    )


def _typical(power: Curve) -> float:
    """Mean power weighted by itself: that of the passages that sound, however few they are."""
    total = float(power.sum())
    return float(np.square(power).sum()) / total if total > 0 else 0.0


def _gain(decibel: float) -> float:
    return float(10 ** (decibel / 10))


def _ratio_db(energy: float, whole: float) -> float | None:
    return round(float(10 * np.log10(energy / whole)), 2) if energy > 0 and whole > 0 else None
