"""Which pitches sound, step by step: spectra in thirds of semitones, explained by harmonic tones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from pipeline.audio import Audio, FloatArray
from pipeline.estimators.base import ANALYSIS_RATE

LOWEST_PITCH, PITCHES = 24, 72
"""MIDI numbers: C1 (33 Hz) to B6 (1976 Hz)."""

WINDOW, HOP = 8192, 1024
"""Samples: 0.37 s, every 46 ms."""

PER_SEMITONE, OVERTONES = 3, 12
"""Bins a semitone, and semitones above the highest pitch."""

HARMONICS, HARMONIC_DECAY = 12, 0.7
"""Amplitudes of a tone's harmonics fall like 0.7^n: Mauch and Dixon, "Approximate note transcription for
the improved identification of difficult chords" (ISMIR 2010)."""

AROUND = 18
"""Semitones around a bin that it is compared with before tones are looked for."""

SILENCE = 1e-4
ITERATIONS = 40
_BINS = PER_SEMITONE * (PITCHES + OVERTONES)
_FRAMES_PER_BLOCK = 256
_STEPS_PER_BLOCK = 4096
_TINY = 1e-9

FloatCurve = npt.NDArray[np.float64]


def pitched_source(stems: Mapping[str, object]) -> str:
    """All stems but the drums, or the mix where only some were asked for."""
    if not {"drums", "bass", "other"} <= stems.keys():
        return "mix"
    return "+".join(name for name in stems if name != "drums" and not name.startswith("no_"))


def pitches(audio: Audio, edges_s: FloatCurve, tuning_cents: float) -> tuple[FloatArray, FloatCurve]:
    """Estimate how strongly each pitch sounds between consecutive times.

    Spectra are whitened, averaged over each step and explained by a sum of harmonic tones, none of them
    negative: what is left of a chord's overtones does not pass for other tones.

    Args:
        audio: one channel at `ANALYSIS_RATE`.
        edges_s: float64 (steps + 1,) seconds, rising.
        tuning_cents: deviation of the pitches from A4 = 440 Hz.

    Returns:
        float32 (steps, PITCHES) >= 0, of no particular unit, 0 in silence; and the level of each step, the
        root of its power in these pitches: float64 (steps,).
    """
    steps = len(edges_s) - 1
    owner = _owners(edges_s, audio)
    count = np.maximum(np.bincount(owner[(owner >= 0) & (owner < steps)], minlength=steps), 1)
    found, power = np.zeros((steps, PITCHES), dtype=np.float32), np.zeros(steps)
    # One block of steps is held at a time: spectra come in order, and with them the steps.
    sums, block = np.zeros((_STEPS_PER_BLOCK, _BINS), dtype=np.float32), 0

    def explain() -> None:
        here = slice(block * _STEPS_PER_BLOCK, min((block + 1) * _STEPS_PER_BLOCK, steps))
        size = here.stop - here.start
        sums[:size] /= count[here, None].astype(np.float32)
        found[here] = _explain(sums[:size])
        sums[:] = 0.0

    for first, spectra in _log_spectra(audio, tuning_cents):
        owners = owner[first : first + len(spectra)]
        inside = (owners >= 0) & (owners < steps)
        here, frames = owners[inside], spectra[inside]
        np.add.at(power, here, np.square(frames).sum(axis=1))
        white, blocks = _whiten(frames), here // _STEPS_PER_BLOCK
        for later in np.unique(blocks).tolist():
            while block < later:
                explain()
                block += 1
            np.add.at(sums, here[blocks == later] % _STEPS_PER_BLOCK, white[blocks == later])
    if steps:
        explain()
    return found, np.sqrt(power / count)


def fold(strength: FloatArray, weight: FloatCurve) -> FloatCurve:
    """Sum weighted pitches by pitch class: float64 (steps, 12) from C."""
    octaves = (strength * weight).reshape(len(strength), PITCHES // 12, 12)
    return np.asarray(octaves.sum(axis=1), dtype=np.float64)


def between(lowest: float, highest: float, slope: float = 4.0) -> FloatCurve:
    """Weights that are 1 from one MIDI number to another and fall off beyond: float64 (PITCHES,)."""
    pitch = LOWEST_PITCH + np.arange(PITCHES)
    return np.asarray(
        np.clip((pitch - lowest) / slope + 1, 0, 1) * np.clip((highest - pitch) / slope + 1, 0, 1)
    )


def _owners(edges_s: FloatCurve, audio: Audio) -> npt.NDArray[np.intp]:
    """Index of the step that each frame's centre lies in; out of range before the first, after the last."""
    frames = 1 + audio.length // HOP if audio.length else 0
    return np.searchsorted(edges_s, np.arange(frames) * HOP / ANALYSIS_RATE, side="right") - 1


def _log_spectra(audio: Audio, tuning_cents: float) -> Iterator[tuple[int, FloatArray]]:
    """Magnitudes by thirds of semitones, float32 (frames, bins), with the index of the first frame."""
    from scipy.fft import rfft

    window = (np.hanning(WINDOW) * 4 / WINDOW).astype(np.float32)
    bands = _bands(tuning_cents)
    total = 1 + audio.length // HOP if audio.length else 0
    for first in range(0, total, _FRAMES_PER_BLOCK):
        last = min(first + _FRAMES_PER_BLOCK, total)
        samples = audio.window(first * HOP - WINDOW // 2, (last - 1) * HOP + WINDOW // 2)[0]
        frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP] * window
        yield first, np.abs(rfft(frames, axis=1))[:, 1 : len(bands) + 1] @ bands


def _bands(tuning_cents: float) -> FloatArray:
    """Weights from linear to logarithmic frequency: float32 (bins of the transform from the first, bins)."""
    hz = np.arange(1, WINDOW // 2 + 1) * ANALYSIS_RATE / WINDOW
    place = PER_SEMITONE * (69 + 12 * np.log2(hz / 440) - tuning_cents / 100 - LOWEST_PITCH)
    hz, place = hz[place < _BINS], place[place < _BINS]
    # A bin of the transform spreads over a bin of the scale, or over its own width where that is wider.
    width = np.maximum(1.0, PER_SEMITONE * 12 * np.log2(1 + ANALYSIS_RATE / WINDOW / hz))
    weight = _bell((place[:, None] - np.arange(_BINS)) / width[:, None]) / width[:, None]
    return np.asarray(weight, dtype=np.float32)


def _bell(distance: FloatCurve) -> FloatCurve:
    """1 at 0, falling to 0 at a distance of 1 as a raised cosine."""
    return np.asarray(0.5 + 0.5 * np.cos(np.pi * np.minimum(np.abs(distance), 1.0)))


def _whiten(frames: FloatArray) -> FloatArray:
    """Take off the mean around each bin and divide by the deviation: loud and soft registers count alike."""
    from scipy.ndimage import uniform_filter1d

    size = AROUND * PER_SEMITONE
    mean = uniform_filter1d(frames, size, axis=1, mode="reflect")
    square = uniform_filter1d(np.square(frames), size, axis=1, mode="reflect")
    spread = np.sqrt(np.maximum(square - np.square(mean), 0.0))
    loudest = frames.max(axis=1, keepdims=True, initial=0.0)
    white = np.maximum(frames - mean, 0.0) / (spread + 1e-3 * loudest + _TINY)
    return np.where(loudest > SILENCE, white, 0.0).astype(np.float32)


def _tones() -> FloatArray:
    """Spectrum of a tone of every pitch: float32 (PITCHES, bins)."""
    pitch = np.arange(PITCHES)[:, None]
    tones = np.zeros((PITCHES, _BINS))
    for n in range(1, HARMONICS + 1):
        place = PER_SEMITONE * (pitch + 12 * np.log2(n))
        tones += HARMONIC_DECAY ** (n - 1) * _bell((np.arange(_BINS) - place) / 2)
    return tones.astype(np.float32)


def _explain(spectra: FloatArray) -> FloatArray:
    """Find non-negative strengths by multiplicative updates.

    Lee and Seung, "Algorithms for non-negative matrix factorization" (NIPS 2000).
    """
    tones = _tones()
    gram = tones @ tones.T
    target = spectra @ tones.T
    found = target.copy()
    for _ in range(ITERATIONS):
        found *= target / (found @ gram + _TINY)
    return found
