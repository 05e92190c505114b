"""Which pitches sound and begin at each moment, by the network of Basic Pitch.

Bittner et al. 2022, "A Lightweight Instrument-Agnostic Model for Polyphonic Note Transcription and Multipitch
Estimation", ICASSP. OpenVINO computes it, 60 times faster than real time on one core.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.audio import Audio, FloatArray, release
from pipeline.errors import EstimatorFailed
from pipeline.scratch import scratch_array
from pipeline.separators.compiled.runtime import openvino
from pipeline.weights import packaged

NETWORK_RATE: Final = 22050
HOP: Final = 256
LOWEST_MIDI, PITCHES = 21, 88
"""The keys of a piano."""

_WINDOW: Final = 43844
"""Samples that the network hears at once."""
_MARGIN, _KEPT = 15, 142
"""Frames at each end of a window that lack context, and those between them."""
_NOTES, _ONSETS, _CONTOURS = (f"StatefulPartitionedCall:{number}" for number in (1, 2, 0))
_CONTOUR_BINS: Final = 264
_BINS_A_OCTAVE: Final = 36
_LOWEST_HZ: Final = 27.5

Byte = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Heard:
    """What the network hears, 86 frames a second of what it was given.

    Probabilities are held as bytes, 255 for 1, on disk: an hour takes 55 MB. `pipeline.audio.release` keeps
    them out of memory.

    Attributes:
        notes: uint8 (frames, 88), how surely each key sounds.
        onsets: uint8 (frames, 88), how surely it begins to.
        melody_hz: float32 (frames,), frequency of the strongest pitch.
        melody: uint8 (frames,), how sure that one is.
        level: float32 (frames,), RMS amplitude.
        frame_s: seconds from frame to frame.
    """

    notes: Byte
    onsets: Byte
    melody_hz: FloatArray
    melody: Byte
    level: FloatArray
    frame_s: float


def transcribe(audio: Audio, scratch: Path) -> Heard:
    """Run the network over a recording.

    Args:
        audio: one channel. At another sample rate than `NETWORK_RATE` the network hears it at another pitch
            and speed, and what is returned is put right. At half the rate it is an octave higher: that suits
            a bass, which lies at the lower end of what the network knows. A few cents put a recording in
            tune whose A is not at 440 Hz.
        scratch: folder for what grows with the recording.

    Returns:
        Frames from the start of the audio to its end.

    Raises:
        EstimatorFailed: the network is not installed.
        DiskFull: no space left.
    """
    slower = audio.sample_rate / NETWORK_RATE
    octaves = max(round(-np.log2(slower)), 0)
    frames = -(-audio.length // HOP)
    notes, onsets = (scratch_array(scratch, (frames, PITCHES), np.uint8) for _ in range(2))
    melody_hz, level = (np.zeros(frames, dtype=np.float32) for _ in range(2))
    melody = np.zeros(frames, dtype=np.uint8)
    for first in range(0, frames, _KEPT):
        start = (first - _MARGIN) * HOP
        window = audio.window(start, start + _WINDOW)[0]
        here = slice(first, min(first + _KEPT, frames))
        inner = slice(_MARGIN, _MARGIN + here.stop - first)
        answer = _network()(window[None, :, None])
        notes[here] = _lowered(_bytes(answer[_NOTES][0][inner]), octaves)
        onsets[here] = _lowered(_bytes(answer[_ONSETS][0][inner]), octaves)
        bins, surely = _strongest(answer[_CONTOURS][0][inner])
        melody_hz[here] = _LOWEST_HZ * slower * 2 ** ((bins - 1) / _BINS_A_OCTAVE)
        melody[here] = _bytes(surely)
        sound = window[inner.start * HOP : inner.stop * HOP].reshape(-1, HOP)
        level[here] = np.sqrt(np.mean(np.square(sound), axis=1))
        release(notes)
        release(onsets)
    return Heard(notes, onsets, melody_hz, melody, level, HOP / audio.sample_rate)


@lru_cache(maxsize=1)
def _network() -> Any:
    path = packaged.find(packaged.NOTES)
    if path is None:
        raise EstimatorFailed(
            "The network that hears notes is not installed.",
            "Run make setup: basic-pitch carries it.",
        )
    core = openvino().Core()
    # One thread, because jobs run side by side; float32, because 16 bits lose the low pitches.
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    return core.compile_model(core.read_model(path), "CPU", settings)


def _bytes(probability: npt.NDArray[np.float32]) -> Byte:
    return np.asarray(np.rint(255 * np.clip(probability, 0.0, 1.0)), dtype=np.uint8)


def _lowered(pitches: Byte, octaves: int) -> Byte:
    """Move pitches down; what leaves the keyboard is dropped."""
    if octaves == 0:
        return pitches
    out = np.zeros_like(pitches)
    out[:, : PITCHES - 12 * octaves] = pitches[:, 12 * octaves :]
    return out


def _strongest(contours: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The strongest bin of each frame, as the centre of mass around it, and its probability."""
    peak = np.clip(contours.argmax(axis=1), 2, _CONTOUR_BINS - 3)
    near = peak[:, None] + np.arange(-2, 3)
    weights = np.take_along_axis(contours, near, axis=1)
    surely = weights.max(axis=1)
    weights = np.maximum(weights - weights.min(axis=1, keepdims=True), 1e-6)
    return np.asarray((near * weights).sum(axis=1) / weights.sum(axis=1), dtype=np.float32), surely
