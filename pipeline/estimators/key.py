"""Key of the whole recording, and its tuning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from pipeline.annotations import Annotation, Key, KeyCandidate
from pipeline.audio import Audio, FloatArray
from pipeline.estimators.base import ANALYSIS_RATE, Recording

TONICS: Final = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MODES: Final[tuple[Literal["major"], Literal["minor"]]] = ("major", "minor")

PROFILES: Final = {
    # Frequency of scale degrees in common-practice chords: Budge 1943, after Bellman, "About the
    # determination of key of a musical excerpt" (CMMR 2005).
    "bellman": (
        (16.80, 0.86, 12.95, 1.41, 13.49, 11.93, 1.25, 20.28, 1.80, 8.04, 0.62, 10.57),
        (18.16, 0.69, 12.99, 13.34, 1.07, 11.15, 1.38, 21.07, 7.49, 1.53, 0.92, 10.21),
    ),
    # Kostka-Payne corpus: Temperley, "Music and Probability" (MIT Press 2007), table 6.1.
    "temperley": (
        (0.748, 0.060, 0.488, 0.082, 0.670, 0.460, 0.096, 0.715, 0.104, 0.366, 0.057, 0.400),
        (0.712, 0.084, 0.474, 0.618, 0.049, 0.460, 0.105, 0.747, 0.404, 0.067, 0.133, 0.330),
    ),
    # Albrecht and Shanahan, "The use of large corpora to train a new type of key-finding algorithm"
    # (Music Perception 31, 2013).
    "albrecht": (
        (0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081),
        (0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052),
    ),
}
"""How often each scale degree sounds in major and in minor; they are standardised and averaged."""

WINDOW, HOP = 8192, 2048
"""Samples: 0.37 s resolve a semitone down to 90 Hz."""
LOWEST_HZ, HIGHEST_HZ = 60.0, 2000.0
HARMONICS, HARMONIC_DECAY = 3, 0.6
FAINTEST_PARTIAL = 1e-3
"""Relative to the strongest of the frame, in amplitude."""
SHARPNESS = 15.0
"""Turns differences of correlation into odds: .05 more is twice as likely."""
NO_PITCH, CLEAR_PITCH = 0.02, 0.10
"""Agreement on a tuning: noise and drums stay below .03, speech below .06; instruments reach .1 to .4."""
NO_KEY, CLEAR_KEY = 0.45, 0.80
"""Correlation with the best profile: noise reaches .4, music in a key .8 and more."""
ONE_TONE, ENOUGH_TONES = 2.0, 5.0
"""Effective number of pitch classes: a lone tone with its harmonics has less than 2, songs have 10."""
CANDIDATES = 3

CENTS = 1200
_FRAMES_PER_BLOCK = 256
_TINY = 1e-9

FloatCurve = npt.NDArray[np.float64]


class KeyEstimator:
    """Matches the pitch classes of all spectral peaks with the profiles of the 24 keys.

    Drums are left out where there are stems. The tuning is measured first, so that a band half a
    semitone sharp does not fall between two keys.
    """

    name = "key"
    method = "pitch classes of tuned spectral peaks, correlated with averaged key profiles"
    version = "1"

    def estimate(self, recording: Recording, found: Mapping[str, Annotation]) -> Key:
        """Estimate the key that fits the whole recording best.

        Args:
            recording: the mix and its stems.
            found: not used.

        Returns:
            Key, with null ``tonic`` and ``mode`` where there is no pitch.
        """
        source = _source(recording.stems)
        cents, noise = _pitch_classes(recording.mono(source))
        tuning, focus = _tuning(cents, noise)
        candidates = _candidates(_chroma(cents, tuning), focus)
        best = candidates[0] if candidates else None
        return Key(
            method=self.method,
            version=self.version,
            source=source,
            tonic=best.tonic if best else None,
            mode=best.mode if best else None,
            confidence=best.confidence if best else 0.0,
            candidates=candidates,
            tuning_cents=round(tuning, 1) if best else None,
        )


def _source(stems: Mapping[str, object]) -> str:
    """All stems but the drums, or the mix where only some were asked for."""
    if not {"drums", "bass", "other"} <= stems.keys():
        return "mix"
    return "+".join(name for name in stems if name != "drums" and not name.startswith("no_"))


def _pitch_classes(audio: Audio) -> tuple[FloatCurve, float]:
    """How strongly every pitch class sounds over the whole signal, cent by cent.

    Each frame counts by the root of its strength, so that a loud chorus does not outvote the rest.

    Args:
        audio: one channel at `ANALYSIS_RATE`.

    Returns:
        float64 (1200,) strength, bin 0 at A = 440 Hz; and the sum of the squares of all that was
        added, from which `_tuning` tells pitch from chance.
    """
    cents, noise = np.zeros(CENTS), 0.0
    for frames in _spectra(audio):
        lowest, highest = (int(hz * WINDOW / ANALYSIS_RATE) for hz in (LOWEST_HZ, HIGHEST_HZ))
        left, here, right = (frames[:, lowest + d : highest + d] for d in (-1, 0, 1))
        floor = FAINTEST_PARTIAL * frames.max(axis=1, keepdims=True) + _TINY
        frame, bin_ = np.nonzero((here > left) & (here >= right) & (here > floor))
        if not len(frame):
            continue
        # The top of a parabola through the logarithms: exact for a Gaussian, near it for Hann.
        low, mid, high = (np.log(part[frame, bin_] + _TINY) for part in (left, here, right))
        shift = 0.5 * (low - high) / np.minimum(low - 2 * mid + high, -_TINY)
        hz = (bin_ + lowest + shift) * (ANALYSIS_RATE / WINDOW)
        strength = np.exp(0.5 * (mid - 0.25 * (low - high) * shift))
        total = np.bincount(frame, strength, minlength=len(frames))
        weight = strength / np.sqrt(total[frame])
        place = np.rint(CENTS * np.log2(hz / 440)).astype(np.intp) % CENTS
        cents += np.bincount(place, weight, minlength=CENTS)
        noise += float(np.square(weight).sum())
    return cents, noise


def _spectra(audio: Audio) -> Iterator[FloatArray]:
    """Walk through magnitude spectra: float32 (<= _FRAMES_PER_BLOCK, WINDOW / 2 + 1)."""
    from scipy.fft import rfft

    window = np.hanning(WINDOW).astype(np.float32)
    step = _FRAMES_PER_BLOCK * HOP
    for start in range(0, audio.length, step):
        stop = max(min(start + step + WINDOW // 2 - HOP, audio.length), start + WINDOW // 2)
        samples = audio.window(start - WINDOW // 2, stop)[0]
        yield np.abs(rfft(np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP] * window, axis=1))


def _tuning(cents: FloatCurve, noise: float) -> tuple[float, float]:
    """Deviation from A = 440 Hz, and how well partials agree on it.

    Returns:
        Cents, -50..50; and 0..1, the length of the mean vector on the circle of one semitone, with
        the length that chance gives taken off: near 0 for noise, drums and speech.
    """
    total = float(cents.sum())
    if total <= 0:
        return 0.0, 0.0
    vector = complex(cents @ np.exp(2j * np.pi * np.arange(CENTS) / 100))
    focus = np.sqrt(max(abs(vector) ** 2 - noise, 0.0)) / total
    return float(np.angle(vector) * 100 / (2 * np.pi)), float(focus)


def _chroma(cents: FloatCurve, tuning: float) -> FloatCurve:
    """Fold cents into semitones, each partial also counting for the tones it may be a harmonic of.

    Returns:
        float64 (12,) from C.
    """
    chroma = np.zeros(12)
    for harmonic in range(1, HARMONICS + 1):
        semitone = (np.arange(CENTS) - tuning) / 100 + 9 - 12 * np.log2(harmonic)
        nearest = np.rint(semitone)
        weight = np.cos(np.pi * (semitone - nearest)) ** 2 * HARMONIC_DECAY ** (harmonic - 1)
        chroma += np.bincount(nearest.astype(np.intp) % 12, weight * cents, minlength=12)
    return chroma


def _candidates(chroma: FloatCurve, focus: float) -> list[KeyCandidate]:
    """Rate the 24 keys; empty where no pitch was found.

    The probabilities of a softmax over correlations are scaled by how tonal the recording is: by the
    agreement on a tuning, by how well the best key fits at all, and by how many pitch classes sound:
    a lone tone belongs to many keys.
    """
    if focus <= NO_PITCH or chroma.std() == 0:
        return []
    fits = [
        (float(np.corrcoef(np.roll(profile, tonic), chroma)[0, 1]), tonic, mode)
        for profile, mode in zip(_profiles(), MODES, strict=True)
        for tonic in range(12)
    ]
    fits.sort(key=lambda fit: -fit[0])
    tones = float(chroma.sum() ** 2 / np.square(chroma).sum())
    tonal = (
        _share(focus, NO_PITCH, CLEAR_PITCH)
        * _share(fits[0][0], NO_KEY, CLEAR_KEY)
        * _share(tones, ONE_TONE, ENOUGH_TONES)
    )
    weight = np.exp(SHARPNESS * (np.array([fit for fit, _, _ in fits]) - fits[0][0]))
    probability = tonal * weight / weight.sum()
    return [
        KeyCandidate(tonic=TONICS[tonic], mode=mode, confidence=round(float(sure), 3))
        for sure, (_, tonic, mode) in zip(probability[:CANDIDATES], fits, strict=False)
    ]


def _share(value: float, low: float, high: float) -> float:
    """How far a value has come from one threshold to another, 0..1."""
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _profiles() -> tuple[FloatCurve, FloatCurve]:
    """Mean of the standardised `PROFILES`, major and minor: float64 (12,) each, from the tonic."""
    both = np.array(list(PROFILES.values()))
    standard = (both - both.mean(axis=2, keepdims=True)) / both.std(axis=2, keepdims=True)
    major, minor = standard.mean(axis=0)
    return major, minor
