"""Is what was compiled still the network? A segment of synthetic music through both tells."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from pipeline.audio import FloatArray
from pipeline.separators.base import Engine

if TYPE_CHECKING:
    from pipeline.weights.load import LoadedModel


def agreement_db(engine: Engine, reference: Engine, loaded: LoadedModel) -> float:
    """Compare two engines on one segment.

    Returns:
        Energy of the reference's stems over that of the difference, in dB: of the network that agrees least.
        Minus infinity where a number is not finite.
    """
    import torch

    window = torch.from_numpy(music(int(loaded.segment_s * loaded.sample_rate), loaded.sample_rate)[None])
    found = math.inf
    for member in range(len(loaded.networks)):
        expected = reference.run(member, window).numpy().astype(np.float64)
        difference = engine.run(member, window).numpy() - expected
        error = float(np.sum(difference**2))
        if not math.isfinite(error):
            return -math.inf
        energy = float(np.sum(expected**2))
        found = min(found, 10.0 * math.log10(energy / error) if error else math.inf)
    return found


def music(samples: int, sample_rate: int) -> FloatArray:
    """A beat, a bass line, chords and noise: something for every stem.

    Returns:
        float32 (2, samples), mean about 0 and deviation 1, always the same.
    """
    t = np.arange(samples) / sample_rate
    draw = np.random.default_rng(0)
    beat = t % 0.5
    kick = np.sin(2 * np.pi * 50 * np.sqrt(beat)) * np.exp(-12 * beat)
    hat = draw.standard_normal((2, samples)) * np.exp(-60 * (t % 0.25))
    step = (t // 2).astype(int) % 4
    bass = _tone(np.array([55.0, 65.4, 49.0, 73.4])[step] * t, 6)
    chord = sum(_tone(np.array(notes)[step] * t, 12) for notes in _CHORDS)
    voice = _tone(440 * t + 3 * np.sin(2 * np.pi * 5 * t), 20) * (np.sin(2 * np.pi * 0.7 * t) > 0)
    mono = kick + 0.4 * bass + 0.15 * chord + 0.3 * voice
    mix = np.stack([mono + 0.05 * chord, mono - 0.05 * chord]) + 0.3 * hat
    return np.asarray((mix - mix.mean()) / mix.std(), dtype=np.float32)


_CHORDS = ((220.0, 261.6, 196.0, 293.7), (277.2, 329.6, 246.9, 370.0), (329.6, 392.0, 293.7, 440.0))


def _tone(cycles: FloatArray, harmonics: int) -> FloatArray:
    tone: FloatArray = sum(np.sin(2 * np.pi * k * cycles) / k for k in range(1, harmonics + 1))
    return tone
