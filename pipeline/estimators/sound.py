"""What a recording sounds like: a fingerprint that survives encoding, and a vector that similar songs share.

The fingerprint is that of Haitsma and Kalker, "A Highly Robust Audio Fingerprinting System", ISMIR 2002: bits
say whether the energy differences between neighbouring bands rise or fall. `pipeline.likeness` compares.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.annotations import Activity, Annotation, LoudnessValues, Sound, Tempo
from pipeline.audio import Audio
from pipeline.estimators.base import ANALYSIS_RATE, Recording
from pipeline.estimators.frames import power_frames

PRINTS_PER_SECOND: Final = 8
"""Enough that half a step lies well within a frame: encoders shift a recording by up to 50 ms."""
LONGEST_S: Final = 120.0
FRAME: Final = 8192
"""Samples at `ANALYSIS_RATE`, 0.37 s, as in the paper."""
BANDS: Final = 33
BAND_EDGES_HZ: Final = np.geomspace(300.0, 2000.0, BANDS + 1)
_SOUND: Final = 1e-3
"""Amplitude, -60 dBFS: the fingerprint begins where the recording does."""

WINDOW: Final = 4096
_BLOCKS: Final = 30
TIMBRE_BANDS: Final = 24
TIMBRE_HZ: Final = (60.0, 10_000.0)
COEFFICIENTS: Final = 12
_PITCH_HZ: Final = (65.0, 2100.0)
"""C2 to C7: where notes have their fundamentals and strongest partials."""

Bits = npt.NDArray[np.uint32]
Vector = npt.NDArray[np.float64]


class SoundEstimator:
    """Fingerprint of the first two minutes, and features of the whole."""

    name = "sound"
    method = "Haitsma-Kalker fingerprint; cepstrum, pitch profile, tempo, loudness range and balance of stems"
    version = "1"
    needs: tuple[str, ...] = ("tempo", "loudness", "activity")
    budget = 0.2

    def estimate(self, recording: Recording, found: Mapping[str, Annotation]) -> Sound:
        """Describe the mix.

        Args:
            recording: the mix and its stems.
            found: tempo, loudness and activity are used, as far as they are there.

        Returns:
            Sound, empty for silence.
        """
        mix = recording.mono("mix")
        features = _spectral_features(mix)
        if features:
            features |= _found_features(found)
        prints = fingerprint(mix)
        return Sound(
            method=self.method,
            version=self.version,
            source="mix",
            fingerprint=base64.b64encode(prints.astype("<u4").tobytes()).decode(),
            prints_per_second=PRINTS_PER_SECOND,
            features={name: round(value, 4) for name, value in features.items()},
        )


def fingerprint(mono: Audio) -> Bits:
    """Fingerprint of the first `LONGEST_S` from the first sound on.

    Args:
        mono: one channel at `ANALYSIS_RATE`.

    Returns:
        uint32 (prints,), one an eighth of a second; empty for what is silent or shorter than two frames.
    """
    start = _first_sound(mono)
    hop = ANALYSIS_RATE / PRINTS_PER_SECOND
    stop = min(mono.length, start + round(LONGEST_S * ANALYSIS_RATE))
    frames = int((stop - start - FRAME) / hop) + 1
    if frames < 2:
        return np.zeros(0, dtype=np.uint32)
    hz = np.fft.rfftfreq(FRAME, 1 / ANALYSIS_RATE)
    edges = np.searchsorted(hz, BAND_EDGES_HZ)
    shape = np.hanning(FRAME)
    energy = np.empty((frames, BANDS))
    for n in range(frames):
        at = start + round(n * hop)
        power = np.square(np.abs(np.fft.rfft(mono.window(at, at + FRAME)[0] * shape)))
        energy[n] = np.add.reduceat(power, edges)[:-1]
    rises = np.diff(-np.diff(energy, axis=1), axis=0) > 0
    weights = np.left_shift(np.uint32(1), np.arange(BANDS - 1, dtype=np.uint32))
    return np.asarray((rises * weights).sum(axis=1, dtype=np.uint32))


def _first_sound(mono: Audio) -> int:
    at = 0
    for block in mono.blocks():
        loud = np.flatnonzero(np.abs(block[0]) > _SOUND)
        if len(loud):
            return at + int(loud[0])
        at += block.shape[1]
    return at


def _spectral_features(mono: Audio) -> dict[str, float]:
    """Mean and spread of the cepstrum, and how energy is spread over pitch classes above the strongest."""
    from scipy.fft import dct

    hz = np.fft.rfftfreq(WINDOW, 1 / mono.sample_rate)
    edges = np.searchsorted(hz, np.geomspace(*TIMBRE_HZ, TIMBRE_BANDS + 1))
    tonal = (hz >= _PITCH_HZ[0]) & (hz < _PITCH_HZ[1])
    pitch_class = np.round(12 * np.log2(hz[tonal] / 440.0)).astype(int) % 12
    blocks = max(mono.length // (WINDOW // 2 * 128), 1)
    cepstra, profile = [], np.zeros(12)
    for frames in power_frames(mono, WINDOW, max(blocks // _BLOCKS, 1)):
        sounding = frames[frames.sum(axis=1) > WINDOW * _SOUND**2]
        if not len(sounding):
            continue
        bands = np.add.reduceat(sounding, edges, axis=1)[:, :TIMBRE_BANDS]
        decibel = 10 * np.log10(bands + 1e-6 * bands.max(axis=1, keepdims=True))
        # Without the first coefficient: how loud it was mastered is not what it sounds like.
        cepstra.append(dct(decibel, norm="ortho", axis=1)[:, 1 : COEFFICIENTS + 1])
        # Square roots, so that the loudest chord does not stand for the whole song.
        profile += np.bincount(pitch_class, np.sqrt(sounding[:, tonal].sum(axis=0)), minlength=12)
    if not cepstra:
        return {}
    rows = np.concatenate(cepstra)
    profile = np.roll(profile / profile.sum(), -int(profile.argmax()))
    return {
        **{f"timbre_{n}": float(mean) for n, mean in enumerate(rows.mean(axis=0), 1)},
        **{f"timbre_spread_{n}": float(spread) for n, spread in enumerate(rows.std(axis=0), 1)},
        **{f"pitch_{n}": float(share) for n, share in enumerate(profile)},
    }


def _found_features(found: Mapping[str, Annotation]) -> dict[str, float]:
    features: dict[str, float] = {}
    tempo, loudness, activity = found.get("tempo"), found.get("loudness"), found.get("activity")
    if isinstance(tempo, Tempo) and tempo.bpm is not None:
        # On a circle: half and double time are the same place.
        turn = 2 * math.pi * math.log2(tempo.bpm)
        features |= {"tempo_cos": math.cos(turn), "tempo_sin": math.sin(turn)}
    if isinstance(loudness, LoudnessValues) and loudness.range_lu is not None:
        features["loudness_range"] = loudness.range_lu
    if isinstance(activity, Activity):
        for name, stem in activity.stems.items():
            features[f"active_{name}"] = stem.active_fraction
    return features
