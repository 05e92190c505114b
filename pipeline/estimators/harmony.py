"""Where harmony changes: chords change on the beat, and most of all on the first of a bar."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.audio import Audio, FloatArray, release
from pipeline.estimators.base import ANALYSIS_RATE, Recording, audible
from pipeline.scratch import scratch_array

HARMONY_HOP = 551
HARMONY_RATE = ANALYSIS_RATE / HARMONY_HOP
"""Frames per second: 25 ms a frame."""

_BODY_HZ, _BODY_WINDOW = (100.0, 2000.0), 4096
_BASS_HZ, _BASS_WINDOW = (40.0, 260.0), 8192
"""Tones of the chords, and the line below them, whose semitones need the longer window."""

_FRAMES_PER_BLOCK = 256
_ATTACK_S = 0.05
"""Left out after a beat: the attack of a tone has no pitch yet."""
_A4_MIDI, _A4_HZ = 69, 440.0
_TINY = 1e-6

FloatCurve = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Harmony:
    """Pitch classes over time, `HARMONY_RATE` frames a second.

    Attributes:
        body: float64 (frames + 1, 12), running sum over frames of what sounds between 100 and 2000 Hz.
        bass: float64 (frames + 1, 12), the same between 40 and 260 Hz.
        source: what was listened to.
    """

    body: FloatCurve
    bass: FloatCurve
    source: str

    def changes(self, beats_s: FloatCurve) -> FloatCurve:
        """How much another harmony sounds after each beat than before it.

        Args:
            beats_s: float64 (>= 2,) seconds, rising.

        Returns:
            float64 (beats, 4) 0..1: one minus the cosine between the pitch classes on both sides, for one
            and for two beats around, of the body and of the bass.
        """
        return np.column_stack([_change(part, beats_s, n) for part in (self.body, self.bass) for n in (1, 2)])


def mix_harmony(recording: Recording) -> Harmony:
    """Harmony of the mix as a whole."""
    mix, scratch = recording.mono("mix"), recording.scratch
    body = _classes(mix, _BODY_HZ, _BODY_WINDOW, scratch)
    return Harmony(body, _classes(mix, _BASS_HZ, _BASS_WINDOW, scratch), "mix")


def stems_harmony(recording: Recording) -> Harmony:
    """Harmony without drums, its bass line from the stem that has it; of the mix where stems lack."""
    stems = recording.stems
    if not {"drums", "bass", "other"} <= stems.keys() or not audible(recording, "drums"):
        return mix_harmony(recording)
    pitched = "+".join(name for name in ("bass", "other", "vocals") if name in stems)
    body = _classes(recording.mono(pitched), _BODY_HZ, _BODY_WINDOW, recording.scratch)
    low = "bass" if audible(recording, "bass") else pitched
    bass = _classes(recording.mono(low), _BASS_HZ, _BASS_WINDOW, recording.scratch)
    return Harmony(body, bass, pitched)


def _change(sums: FloatCurve, beats_s: FloatCurve, beats: int) -> FloatCurve:
    first, last = beats_s[1] - beats_s[0], beats_s[-1] - beats_s[-2]
    steps = np.arange(1, beats + 1)
    around = np.concatenate([beats_s[0] - first * steps[::-1], beats_s, beats_s[-1] + last * steps])
    at = np.rint(around * HARMONY_RATE).astype(np.intp)
    here, attack = at[beats:-beats], round(_ATTACK_S * HARMONY_RATE)
    before = _mean(sums, at[: -2 * beats], here)
    after = _mean(sums, here + attack, at[2 * beats :])
    size = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    return np.asarray(1.0 - (before * after).sum(axis=1) / np.maximum(size, _TINY))


def _mean(sums: FloatCurve, start: npt.NDArray[np.intp], stop: npt.NDArray[np.intp]) -> FloatCurve:
    frames = len(sums) - 1
    total = sums[np.clip(stop, 0, frames)] - sums[np.clip(start, 0, frames)]
    release(sums)
    return np.asarray(total / np.maximum(stop - start, 1)[:, None])


def _classes(audio: Audio, band_hz: tuple[float, float], window: int, scratch: Path) -> FloatCurve:
    """Running sum of how strongly each pitch class sounds: float64 (frames + 1, 12), on disk."""
    from scipy.fft import rfft

    frames = 1 + audio.length // HARMONY_HOP if audio.length else 0
    filters, classes = _semitones(band_hz, window)
    shape = np.hanning(window).astype(np.float32)
    sums = scratch_array(scratch, (frames + 1, 12), np.float64)
    for start in range(0, frames, _FRAMES_PER_BLOCK):
        stop = min(start + _FRAMES_PER_BLOCK, frames)
        first = start * HARMONY_HOP - window // 2
        samples = audio.window(first, (stop - 1) * HARMONY_HOP + window // 2)[0]
        slices = np.lib.stride_tricks.sliding_window_view(samples, window)[::HARMONY_HOP]
        # The root lets the soft tones of a chord count beside the loud.
        sums[start + 1 : stop + 1] = np.sqrt(np.abs(rfft(slices * shape, axis=1)) @ filters) @ classes
        np.cumsum(sums[start : stop + 1], axis=0, out=sums[start : stop + 1])
        release(sums)
    return sums


def _semitones(band_hz: tuple[float, float], window: int) -> tuple[FloatArray, FloatArray]:
    """Triangular filters, one a semitone or a bin wide, and the pitch class of each.

    Returns:
        float32 (window / 2 + 1, semitones); float32 (semitones, 12), C first.
    """
    hz = np.maximum(np.fft.rfftfreq(window, 1 / ANALYSIS_RATE), 1.0)
    pitch = _A4_MIDI + 12 * np.log2(hz / _A4_HZ)
    lowest, highest = (round(_A4_MIDI + 12 * float(np.log2(edge / _A4_HZ))) for edge in band_hz)
    semitones = np.arange(lowest, highest + 1)
    bin_semitones = 12 * np.log2(1 + 1.2 * ANALYSIS_RATE / window / np.maximum(hz, 20.0))
    filters = np.maximum(0, 1 - np.abs(pitch[:, None] - semitones) / np.maximum(1.0, bin_semitones)[:, None])
    inside = (hz >= band_hz[0] * 2 ** (-1 / 12)) & (hz <= band_hz[1] * 2 ** (1 / 12))
    return (filters * inside[:, None]).astype(np.float32), np.eye(12, dtype=np.float32)[semitones % 12]
