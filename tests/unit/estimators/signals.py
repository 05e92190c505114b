"""Recordings with a known truth, made from nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.audio import Audio
from pipeline.estimators.base import Recording

RATE = 22050

Signal = npt.NDArray[np.float64]

_views = tempfile.TemporaryDirectory()
"""Holds the mono views of all recordings, until the process ends."""


def recording(mix: Signal, stems: Mapping[str, Signal] | None = None, rate: int = RATE) -> Recording:
    """Wrap signals, (samples,) or (channels, samples), as the estimators get them."""
    made = {name: _audio(stem, rate) for name, stem in (stems or {}).items()}
    return seen(_audio(mix, rate), made)


def seen(mix: Audio, stems: Mapping[str, Audio]) -> Recording:
    """Wrap a mix and its stems as the estimators get them."""
    return Recording(mix, stems, Path(tempfile.mkdtemp(dir=_views.name)))


def _audio(signal: Signal, rate: int) -> Audio:
    return Audio(np.atleast_2d(signal).astype(np.float32), rate)


def noise(seconds: float, seed: int = 0) -> Signal:
    """White noise at -20 dBFS."""
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))


def tone(hz: float, seconds: float, rate: int = RATE) -> Signal:
    """A sine at -6 dBFS."""
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def hits(times_s: Iterable[float], seconds: float, sound: Signal) -> Signal:
    """The same sound at every time."""
    out = np.zeros(round(seconds * RATE) + len(sound))
    for time in times_s:
        start = round(time * RATE)
        out[start : start + len(sound)] += sound
    return out[: round(seconds * RATE)]


def steady(bpm: float, seconds: float, first_s: float = 0.5) -> Signal:
    """Beat times of an even tempo."""
    return np.arange(first_s, seconds - 0.2, 60 / bpm)


def changing(bpm_at: Callable[[float], float], seconds: float) -> Signal:
    """Beat times of a tempo that depends on time."""
    times = [0.5]
    while times[-1] < seconds - 1:
        times.append(times[-1] + 60 / bpm_at(times[-1]))
    return np.array(times)


def click() -> Signal:
    """20 ms of decaying noise."""
    return _decay(441, 100) * np.random.default_rng(1).standard_normal(441) * 0.5


def kick() -> Signal:
    """A sine that falls from 110 to 50 Hz."""
    time = np.arange(4410) / RATE
    return _decay(4410, 900) * np.sin(2 * np.pi * (50 * time + 2 * (1 - np.exp(-30 * time)))) * 0.8


def snare() -> Signal:
    """Noise over a tone of 190 Hz."""
    body = np.sin(2 * np.pi * 190 * np.arange(3300) / RATE)
    return _decay(3300, 600) * (0.4 * np.random.default_rng(2).standard_normal(3300) + 0.3 * body)


def hat() -> Signal:
    """Short bright noise."""
    return _decay(1100, 150) * np.diff(np.random.default_rng(3).standard_normal(1101)) * 0.1


def drum_kit(beats_s: Signal, seconds: float) -> Signal:
    """Kick on one and three, snare on two and four, hats in eighths."""
    eighths = np.sort(np.concatenate([beats_s, (beats_s[1:] + beats_s[:-1]) / 2]))
    return (
        hits(beats_s[::2], seconds, kick())
        + hits(beats_s[1::2], seconds, snare())
        + hits(eighths, seconds, hat())
    )


def syllables(seconds: float, seed: int = 0) -> Signal:
    """Something like speech: voiced and unvoiced syllables of random pitch, length and pause."""
    rng = np.random.default_rng(seed)
    out = np.zeros(round(seconds * RATE))
    at = 0
    while at < len(out) - RATE:
        size = int(rng.uniform(0.08, 0.25) * RATE)
        pitch = rng.uniform(90, 220) * np.exp(rng.uniform(-0.3, 0.3) * np.linspace(0, 1, size))
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        formant = rng.uniform(400, 2500)
        voice = sum(
            np.sin(k * phase) * np.exp(-(((k * pitch.mean() - formant) / 600) ** 2)) for k in range(1, 25)
        )
        sound = voice if rng.random() < 0.6 else 0.5 * rng.standard_normal(size)
        out[at : at + size] += 0.1 * rng.uniform(0.3, 1) * np.hanning(size) * sound
        at += (
            size
            + int(rng.exponential(0.06) * RATE)
            + (rng.random() < 0.12) * int(rng.uniform(0.3, 0.9) * RATE)
        )
    return out


def chord(semitones: Iterable[float], seconds: float, a4_hz: float = 440.0) -> Signal:
    """Plucked tones with six harmonics each, given in semitones above middle C."""
    time = np.arange(round(seconds * RATE)) / RATE
    out = np.zeros(len(time))
    for semitone in semitones:
        hz = a4_hz * 2 ** ((semitone - 9) / 12)
        out += sum(0.6**k * np.sin(2 * np.pi * k * hz * time) for k in range(1, 7))
    return 0.05 * out * np.exp(-1.5 * time) * np.minimum(1, time / 0.005)


def cadence(tonic: int, mode: str, a4_hz: float = 440.0) -> Signal:
    """I IV V I with the scale above it, twice; the dominant of minor is major, as in real music."""
    third, sixth = (4, 9) if mode == "major" else (3, 8)
    chords = [(0, third, 7), (5, sixth, 12), (7, 11, 14), (0, third, 7)]
    scale = [(0, 2, third, 7), (5, sixth, 7, 5), (7, 11, 14, 11), (12, 7, third, 0)]
    bars = []
    for tones, melody in zip(chords, scale, strict=True):
        line = np.concatenate([chord([tonic + step + 12], 0.5, a4_hz) for step in melody])
        bars.append(chord([tonic + step - 12 for step in (tones[0], *tones)], 2.0, a4_hz) + line)
    return np.tile(np.concatenate(bars), 2)


def _decay(samples: int, constant: float) -> Signal:
    return np.exp(-np.arange(samples) / constant)
