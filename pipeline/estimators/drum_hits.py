"""Hits of the drums, sorted by instrument: kick, snare, hat, tom, cymbal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.audio import Audio
from pipeline.estimators.base import ANALYSIS_RATE

MIDI: Final = {"kick": 36, "snare": 38, "hat": 42, "tom": 45, "cymbal": 49}
"""General MIDI percussion: bass drum 1, acoustic snare, closed hi-hat, low tom, crash cymbal 1."""

_HOP, _WINDOW = 110, 512
_FRAME_S: Final = _HOP / ANALYSIS_RATE
_BANDS_HZ: Final = {
    "low": (30.0, 110.0),
    "body": (110.0, 400.0),
    "noise": (1500.0, 5000.0),
    "high": (6500.0, 11_000.0),
}
_FRAMES_PER_BLOCK: Final = 8192
_COMPRESSION: Final = {"low": 10.0, "body": 3.0, "noise": 1.0, "high": 10.0}
"""How much the logarithm lifts soft hits. Little in the snare's band, where hats sound too, but softly."""
_SILENCE: Final = 1e-5
_APART_S: Final = 0.05
"""Two hits of one instrument are at least so far apart: a roll of thirty-second notes at 150 BPM."""
_LEAST: Final = 0.5
"""Of a band's typical rise, below which there is no hit."""
_AGREE: Final = 0.6
_RING_S, _RINGS = 0.25, 0.55
"""A cymbal still has this share of its logarithmic level so long after the stroke; a closed hat has not."""

Curve = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Hit:
    """One hit.

    Attributes:
        time_s: seconds from the start of the recording.
        instrument: a name of `MIDI`.
        strength: relative to a typical hit of the band in which it was found.
    """

    time_s: float
    instrument: str
    strength: float


def find_hits(audio: Audio) -> list[Hit]:
    """Find hits by the rise of the level in bands that drums differ in.

    A kick rises below 110 Hz, a snare in its noise and its body together, a tom in its body without noise,
    and hats and cymbals above 6.5 kHz, where a cymbal goes on ringing.

    Args:
        audio: one channel at `ANALYSIS_RATE`: the drums.

    Returns:
        Hits in order of time.
    """
    levels = _levels(audio)
    rises = {
        name: _relative(np.maximum(np.diff(level, n=1, prepend=level[:1]), 0.0))
        for name, level in levels.items()
    }
    reach = max(round(0.02 / _FRAME_S), 1)
    near = {name: _largest_near(rise, reach) for name, rise in rises.items()}
    found: list[Hit] = []
    for frame, strength in _peaks(rises["low"]):
        found.append(Hit(frame * _FRAME_S, "kick", strength))
    for frame, strength in _peaks(rises["noise"]):
        if near["body"][frame] >= _AGREE:
            found.append(Hit(frame * _FRAME_S, "snare", strength))
    for frame, strength in _peaks(rises["body"]):
        if near["noise"][frame] < _LEAST and near["low"][frame] < _LEAST and strength >= _AGREE:
            found.append(Hit(frame * _FRAME_S, "tom", strength))
    snares = np.array([hit.time_s for hit in found if hit.instrument == "snare"])
    for frame, strength in _peaks(rises["high"]):
        time = frame * _FRAME_S
        # A snare has noise up there too.
        if len(snares) and np.abs(snares - time).min() < _APART_S / 2:
            continue
        name = "cymbal" if _rings(levels["high"], frame) and strength > 1 else "hat"
        found.append(Hit(time, name, strength))
    return sorted(found, key=lambda hit: (hit.time_s, hit.instrument))


def _levels(audio: Audio) -> dict[str, Curve]:
    """Logarithmic level of each band: float64 (frames,), `_FRAME_S` apart, 0 for nothing."""
    from scipy.fft import rfft

    frames = 1 + audio.length // _HOP if audio.length else 0
    out = {name: np.zeros(frames) for name in _BANDS_HZ}
    loudest = max((float(np.abs(block).max(initial=0.0)) for block in audio.blocks()), default=0.0)
    if loudest < _SILENCE:
        return out
    hz = np.fft.rfftfreq(_WINDOW, 1 / ANALYSIS_RATE)
    inside = {name: (hz >= low) & (hz < high) for name, (low, high) in _BANDS_HZ.items()}
    window = np.hanning(_WINDOW).astype(np.float32) / np.float32(loudest * _WINDOW / 4)
    for start in range(0, frames, _FRAMES_PER_BLOCK):
        stop = min(start + _FRAMES_PER_BLOCK, frames)
        first = start * _HOP - _WINDOW // 2
        sound = audio.window(first, (stop - 1) * _HOP + _WINDOW // 2)[0]
        seen = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW)[::_HOP]
        power = np.square(np.abs(rfft(seen * window, axis=1)))
        for name, bins in inside.items():
            out[name][start:stop] = np.log1p(_COMPRESSION[name] * np.sqrt(power[:, bins].sum(axis=1)))
    return out


def _relative(rise: Curve) -> Curve:
    """A rise over three frames, in units of the band's typical one: the mean weighted by itself."""
    from scipy.ndimage import uniform_filter1d

    smooth = 3 * uniform_filter1d(rise, 3) if len(rise) else rise
    total = float(smooth.sum())
    typical = float(np.square(smooth).sum()) / total if total > 0 else 0.0
    return np.asarray(smooth / typical if typical > 0.02 else np.zeros_like(smooth))


def _largest_near(curve: Curve, reach: int) -> Curve:
    from scipy.ndimage import maximum_filter1d

    return np.asarray(maximum_filter1d(curve, 2 * reach + 1)) if len(curve) else curve


def _peaks(rise: Curve) -> list[tuple[int, float]]:
    from scipy.signal import find_peaks

    if not len(rise):
        return []
    frames, _ = find_peaks(rise, height=_LEAST, distance=max(round(_APART_S / _FRAME_S), 1))
    return [(int(frame), float(rise[frame])) for frame in frames]


def _rings(level: Curve, frame: int) -> bool:
    after = level[frame + round(_RING_S / _FRAME_S) :][:5]
    peak = float(level[frame : frame + 10].max(initial=0.0))
    return len(after) > 0 and float(after.mean()) > _RINGS * peak
