"""Key of the whole recording, where it changes, and the tuning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from pipeline.annotations import Annotation, Key, KeyCandidate, KeySegment
from pipeline.chord_names import PITCH_CLASSES
from pipeline.estimators.base import Recording
from pipeline.estimators.path import best_path
from pipeline.estimators.pitches import pitched_source
from pipeline.estimators.tuning import BLOCK_S, CENTS, pitch_classes, tuning

TONICS: Final = PITCH_CLASSES
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

HARMONICS, HARMONIC_DECAY = 3, 0.6
SHARPNESS = 15.0
"""Turns differences of correlation into odds: .05 more is twice as likely."""
NO_PITCH, CLEAR_PITCH = 0.02, 0.10
"""Agreement on a tuning: noise and drums stay below .03, speech below .06; instruments reach .1 to .4."""
NO_KEY, CLEAR_KEY = 0.45, 0.80
"""Correlation with the best profile: noise reaches .4, music in a key .8 and more."""
ONE_TONE, ENOUGH_TONES = 2.0, 5.0
"""Effective number of pitch classes: a lone tone with its harmonics has less than 2, songs have 10."""
ENOUGH_S = 8.0
"""Less is a chord or two, which belong to several keys."""
CANDIDATES = 3

AROUND_BLOCKS = 2
"""Blocks before and after each that its key is looked for in as well: 25 s hold more than a few chords."""
CHANGE_COST = 14.0
"""Nats: a minute in another key whose profile fits better by .1 pays for a change there and one back."""

FloatCurve = npt.NDArray[np.float64]


class KeyEstimator:
    """Matches the pitch classes of all spectral peaks with the profiles of the 24 keys.

    Drums are left out where there are stems. The tuning is measured first, so that a band half a
    semitone sharp does not fall between two keys.
    """

    name = "key"
    method = "pitch classes of tuned spectral peaks, correlated with averaged key profiles"
    version = "2"
    needs: tuple[str, ...] = ()
    budget = 0.2

    def estimate(self, recording: Recording, found: Mapping[str, Annotation]) -> Key:
        """Estimate the key that fits the whole recording best.

        Args:
            recording: the mix and its stems.
            found: not used.

        Returns:
            Key, with null ``tonic`` and ``mode`` where there is no pitch.
        """
        source = pitched_source(recording.stems)
        blocks, noise = pitch_classes(recording.mono(source))
        cents = blocks.sum(axis=0)
        deviation, focus = tuning(cents, noise)
        chroma, duration_s = _chroma(cents, deviation), recording.mix.duration_s
        tonal = _tonal(chroma, focus)
        candidates = _candidates(chroma, focus, tonal * _share(duration_s, 0.0, ENOUGH_S))
        best = candidates[0] if candidates else None
        return Key(
            method=self.method,
            version=self.version,
            source=source,
            tonic=best.tonic if best else None,
            mode=best.mode if best else None,
            confidence=best.confidence if best else 0.0,
            candidates=candidates,
            tuning_cents=round(deviation, 1) if best else None,
            segments=_segments(blocks, deviation, tonal, duration_s) if best else [],
        )


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


def _tonal(chroma: FloatCurve, focus: float) -> float:
    """How far there is a key to be found, 0..1: tones agree on a tuning, and there are several of them.

    A lone tone belongs to many keys; drums, noise and speech to none.
    """
    if focus <= NO_PITCH or chroma.std() == 0:
        return 0.0
    tones = float(chroma.sum() ** 2 / np.square(chroma).sum())
    return _share(focus, NO_PITCH, CLEAR_PITCH) * _share(tones, ONE_TONE, ENOUGH_TONES)


def _candidates(chroma: FloatCurve, focus: float, tonal: float) -> list[KeyCandidate]:
    """Rate the 24 keys; empty where no pitch was found.

    The probabilities of a softmax over correlations are scaled by how tonal the recording is, and by how
    well the best key fits at all.
    """
    if focus <= NO_PITCH or chroma.std() == 0:
        return []
    fits = [(float(fit), at % 12, MODES[at // 12]) for at, fit in enumerate(_fits(chroma))]
    fits.sort(key=lambda fit: -fit[0])
    tonal = tonal * _share(fits[0][0], NO_KEY, CLEAR_KEY)
    weight = np.exp(SHARPNESS * (np.array([fit for fit, _, _ in fits]) - fits[0][0]))
    probability = tonal * weight / weight.sum()
    return [
        KeyCandidate(tonic=TONICS[tonic], mode=mode, confidence=round(float(sure), 3))
        for sure, (_, tonic, mode) in zip(probability[:CANDIDATES], fits, strict=False)
    ]


def _segments(blocks: FloatCurve, deviation: float, tonal: float, duration_s: float) -> list[KeySegment]:
    """Follow the key through the recording by a Viterbi search over the fits of all 24 keys."""
    size = min(2 * AROUND_BLOCKS + 1, len(blocks))
    padded = np.pad(blocks, ((size // 2, size - 1 - size // 2), (0, 0)))
    chroma = [_chroma(padded[i : i + size].sum(axis=0), deviation) for i in range(len(blocks))]
    fits = np.array([_fits(one) if one.std() > 0 else np.zeros(24) for one in chroma])
    keys = best_path(SHARPNESS * fits, np.full(len(fits), CHANGE_COST))
    starts = np.flatnonzero(np.diff(keys, prepend=-1)).tolist()
    edges_s = [*(start * BLOCK_S for start in starts), duration_s]
    return [
        KeySegment(
            start_s=round(edges_s[i], 2),
            end_s=round(edges_s[i + 1], 2),
            tonic=TONICS[keys[start] % 12],
            mode=MODES[keys[start] // 12],
            confidence=round(
                tonal
                * _share(float(fits[start:stop, keys[start]].mean()), NO_KEY, CLEAR_KEY)
                * _share(edges_s[i + 1] - edges_s[i], 0.0, ENOUGH_S),
                3,
            ),
        )
        for i, (start, stop) in enumerate(zip(starts, [*starts[1:], len(keys)], strict=True))
    ]


def _fits(chroma: FloatCurve) -> FloatCurve:
    """Correlation with the profiles of the 24 keys, major first: float64 (24,)."""
    profiles = [np.roll(profile, tonic) for profile in _profiles() for tonic in range(12)]
    return np.asarray(np.corrcoef(np.vstack([chroma, *profiles]))[0, 1:])


def _share(value: float, low: float, high: float) -> float:
    """How far a value has come from one threshold to another, 0..1."""
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _profiles() -> tuple[FloatCurve, FloatCurve]:
    """Mean of the standardised `PROFILES`, major and minor: float64 (12,) each, from the tonic."""
    both = np.array(list(PROFILES.values()))
    standard = (both - both.mean(axis=2, keepdims=True)) / both.std(axis=2, keepdims=True)
    major, minor = standard.mean(axis=0)
    return major, minor
