"""Recordings whose sound tells what the player did with them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.browser.audio_server import RATE, Recording
from tests.browser.listener import Sound, onsets, pitch_hz


def stereo(left: NDArray[Any], right: NDArray[Any] | None = None) -> NDArray[np.int16]:
    """int16 (samples, 2) of one side or two, full scale -1 to 1."""
    both = np.stack([left, left if right is None else right], axis=1)
    return np.rint(both * 32767).astype(np.int16)


def seconds(length_s: float) -> NDArray[np.float64]:
    """Times of all samples."""
    return np.arange(int(length_s * RATE)) / RATE


def tone(hz: float, length_s: float = 24, amplitude: float = 0.2) -> NDArray[np.float64]:
    """A sine."""
    return amplitude * np.sin(2 * np.pi * hz * seconds(length_s))


def ladder(length_s: float = 24) -> NDArray[np.float64]:
    """A tone that tells the time: `step_hz(k)` during second k."""
    t = seconds(length_s)
    return 0.2 * np.sin(2 * np.pi * step_hz(np.floor(t)) * t)


def step_hz(second: Any) -> Any:
    """What the ladder sounds during a second."""
    return 300 + 40 * second


def second_of(sound: Sound) -> float:
    """Which second of the ladder is heard."""
    return (pitch_hz(sound) - 300) / 40


def pulses(every_s: float, length_s: float) -> NDArray[np.float64]:
    """Short bursts from `every_s` on."""
    track = np.zeros(int(length_s * RATE))
    burst = 0.6 * np.cos(2 * np.pi * 2000 * np.arange(40) / RATE)
    for at in np.arange(every_s, length_s - 0.01, every_s):
        start = round(at * RATE)
        track[start : start + 40] = burst
    return track


def noise(seed: int, length_s: float = 12) -> NDArray[np.float64]:
    """White noise, the same for a seed."""
    return np.random.default_rng(seed).uniform(-0.25, 0.25, int(length_s * RATE))


def song() -> Recording:
    """Vocals at 440 Hz, a bass at 110 Hz, and a faint residual."""
    tracks = {"vocals": tone(440), "bass": tone(110), "residual": 0.004 * noise(1, 24)}
    return Recording({name: stereo(track) for name, track in tracks.items()}, residual="residual")


def find(needle: NDArray[Any], hay: NDArray[Any]) -> int:
    """Where the needle lies in the hay."""
    size = len(hay) + len(needle)
    spectrum = np.fft.rfft(hay, size) * np.conj(np.fft.rfft(needle, size))
    return int(np.argmax(np.fft.irfft(spectrum, size)[: len(hay)]))


def drift_s(heard: Sound) -> float:
    """How far the pulses of the two sides are apart at most."""
    left, right = onsets(heard[:, 0]), onsets(heard[:, 1])
    assert len(left) == len(right) > 2
    return float(np.abs(left - right).max() / RATE)


def two_clocks(length_s: float) -> Recording:
    """Two stems whose pulses are at the same times, one on each side."""
    silence = np.zeros(int(length_s * RATE))
    return Recording(
        {"one": stereo(pulses(0.25, length_s), silence), "two": stereo(silence, pulses(0.25, length_s))}
    )
