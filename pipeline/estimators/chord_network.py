"""A trained network's opinion on which chord sounds when.

The network of Jiang, Chen, Li and Xia, "Large-vocabulary chord transcription via chord structure
decomposition" (ISMIR 2019), with its weights, in torch's own layers. It hears triad, bass and seventh apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.audio import Audio, FloatArray
from pipeline.estimators.base import ANALYSIS_RATE
from pipeline.estimators.chord_templates import QUALITIES
from pipeline.weights import packaged

if TYPE_CHECKING:
    import torch

HOP = 512
PER_SEMITONE, BINS = 3, 252
LOWEST_HZ: Final = 440 * 2 ** (-45 / 12)
"""C1."""

SEGMENT_FRAMES, CONTEXT_FRAMES = 1720, 215
"""40 s, and 5 s before and after, which is more than the network looks back and ahead."""

MARGIN_S = 2.0
"""Of signal on either side of a segment: more than half the longest filter and librosa's least."""

TRIADS: Final = {"maj": 0, "min": 1, "sus4": 2, "sus2": 3, "dim": 4, "aug": 5}
HEARD_AS: Final = {
    "maj": ("maj", 0),
    "min": ("min", 0),
    "7": ("maj", 2),
    "maj7": ("maj", 1),
    "min7": ("min", 2),
    "sus4": ("sus4", 0),
    "dim": ("dim", 0),
    "dim7": ("dim", 3),
    "hdim7": ("dim", 2),
    "aug": ("aug", 0),
}
"""Triad, and which seventh: none, major, minor, diminished."""
_HEADS: Final = (73, 13, 4, 4, 3, 3)
"""Outputs for triad (none, then twelve roots each), bass, seventh, ninth, eleventh, thirteenth."""

_LAYERS: Final = (
    ("1a", 1),
    ("1b", 1),
    ("1c", 3),
    ("2a", 1),
    ("2b", 1),
    ("2c", 3),
    ("3a", 1),
    ("3b", 4),
    ("4a", 1),
    ("4b", 1),
)
"""Convolutions, and how many bins are pooled after each."""

LEAST_PROBABILITY = 1e-4
"""The network is never surer than that, or one wrong frame would outweigh a bar."""

FloatCurve = npt.NDArray[np.float64]


def available() -> bool:
    """Whether the weights are here."""
    return _network() is not None


def evidence(audio: Audio, edges_s: FloatCurve, tuning_cents: float) -> FloatArray:
    """Log-probability of every chord, summed over the frames of each step.

    Args:
        audio: one channel at `ANALYSIS_RATE`.
        edges_s: float64 (steps + 1,) seconds, rising.
        tuning_cents: deviation from A4 = 440 Hz.

    Returns:
        float32 (steps, chords) in the order of `chord_templates.labels`.
    """
    steps = len(edges_s) - 1
    total = np.zeros((steps, 1 + 12 * len(QUALITIES)), dtype=np.float32)
    for first, segment in _segments(audio, tuning_cents):
        times = (first + np.arange(len(segment))) * HOP / ANALYSIS_RATE
        owner = np.clip(np.searchsorted(edges_s, times, side="right") - 1, 0, steps - 1)
        np.add.at(total, owner, segment.astype(np.float32))
    return total


def _segments(audio: Audio, tuning_cents: float) -> Iterator[tuple[int, FloatCurve]]:
    """Log-probabilities of frames, float64 (frames, chords), with the index of the first of them."""
    import torch

    network = _network()
    frames = 1 + audio.length // HOP
    for first in range(0, frames, SEGMENT_FRAMES):
        last = min(first + SEGMENT_FRAMES, frames)
        before = min(first, CONTEXT_FRAMES)
        spectrum = _spectrum(audio, first - before, min(last + CONTEXT_FRAMES, frames), tuning_cents)
        with torch.inference_mode():
            heads = network(torch.from_numpy(spectrum))
        yield first, _by_chord([head[before : before + last - first].double().numpy() for head in heads])


def _spectrum(audio: Audio, first: int, last: int, tuning_cents: float) -> FloatArray:
    """Constant-Q magnitudes as the network was trained on: float32 (frames, BINS)."""
    import librosa

    margin = round(MARGIN_S * ANALYSIS_RATE / HOP)
    samples = audio.window((first - margin) * HOP, (last + margin) * HOP)[0]
    transform = librosa.hybrid_cqt(
        samples,
        sr=ANALYSIS_RATE,
        hop_length=HOP,
        fmin=LOWEST_HZ,
        n_bins=BINS,
        bins_per_octave=12 * PER_SEMITONE,
        tuning=tuning_cents * PER_SEMITONE / 100,
    )
    return np.ascontiguousarray(np.abs(transform[:, margin : margin + last - first]).T, dtype=np.float32)


def _by_chord(heads: list[FloatCurve]) -> FloatCurve:
    """Combine what was heard apart into the chords of `chord_templates.labels`."""
    triad, seventh = (np.log(np.maximum(head, LEAST_PROBABILITY)) for head in (heads[0], heads[2]))
    columns = [triad[:, 0]]
    for root in range(12):
        for kind, which in HEARD_AS.values():
            columns.append(triad[:, 1 + 12 * TRIADS[kind] + root] + seventh[:, which])
    return np.stack(columns, axis=1)


@lru_cache(maxsize=1)
def _network() -> Any:
    """The network with its weights, float32 on the CPU; None where they are not here."""
    path = packaged.find(packaged.CHORDS)
    if path is None:
        return None
    tensors = packaged.read(path)
    return lambda spectrum: _forward(tensors, spectrum)


def _forward(tensors: dict[str, torch.Tensor], spectrum: torch.Tensor) -> list[torch.Tensor]:
    """Probabilities of each head: float32 (frames, outputs)."""
    import torch
    from torch.nn import functional as nn

    x = spectrum[None, None]
    for layer, pooled in _LAYERS:
        name = f"audio_feature_block.conv{layer}"
        padding = (1, 0) if layer.startswith("4") else (1, 1)
        x = nn.conv2d(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"], padding=padding)
        x = nn.selu(nn.instance_norm(x))
        x = nn.max_pool2d(x, (1, pooled)) if pooled > 1 else x
    x = x.transpose(1, 2).flatten(2)
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    weights = [tensors[f"lstm1.{kind}_l0{way}"] for way in ("", "_reverse") for kind in kinds]
    start = torch.zeros(2, 1, weights[1].shape[1])
    x = torch.lstm(x, (start, start), weights, True, 1, 0.0, False, True, True)[0]
    x = nn.linear(x[0], tensors["final_fc1.weight"], tensors["final_fc1.bias"])
    return [nn.softmax(head, dim=1) for head in torch.split(x, list(_HEADS), dim=1)]
