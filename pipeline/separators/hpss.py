"""A separator without weights: median filtering, stereo position and frequency bands.

Draft quality, honestly: it needs no download, no licence and a tenth of the track's length. Drums are what is
vertical in the spectrogram and harmony what is horizontal (Fitzgerald 2010, "Harmonic/percussive separation
using median filtering"); bass is the harmonic low band; vocals are what both channels share in the middle of
the harmony (Avendano 2003, "Frequency-domain source identification and manipulation in stereo mixes"); other
is the rest of the mix, sample by sample, so that the stems sum to the mix exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.audio import Audio, FloatArray
from pipeline.checkpoint import Checkpoint
from pipeline.layout import labelled, stereo_pairs
from pipeline.manifest import Notice
from pipeline.progress import CancelToken

_FRAME_S: Final = 0.093
"""Length of an analysis frame in seconds: 4,096 samples at 44.1 kHz resolves bass notes a semitone apart."""
_MEDIAN: Final = 31
"""Median filter lengths in frames and bins: librosa's default."""
_CORE_FRAMES: Final = 512
"""Frames that one window contributes: 12 s at 44.1 kHz."""
_BASS_HZ: Final = (120.0, 250.0)
_VOCALS_HZ: Final = (120.0, 250.0, 7000.0, 11000.0)
_CENTRE_POWER: Final = 4.0
"""Sharpness of the centre mask: at 4, a source panned by a third is down by 10 dB."""
_GRID: Final = np.float32(2.0**23)
"""Stems are rounded to 24-bit steps: then their sum is exact in float32 and in a 24-bit file."""


class HpssSeparator:
    """Stems from signal processing alone."""

    stems: tuple[str, ...] = ("drums", "bass", "other", "vocals")
    complete = True
    weights_sha256: str | None = None
    device = "cpu"
    precision = "float32"
    notices: Sequence[Notice] = ()

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {"frame_s": _FRAME_S, "median": _MEDIAN}

    def separate(
        self,
        mix: Audio,
        *,
        scratch: Path,
        step: Callable[[float], None],
        cancel: CancelToken,
        checkpoint: Checkpoint | None = None,
    ) -> Iterator[FloatArray]:
        """See `pipeline.separators.base.Separator.separate`."""
        blocks_from = partial(self._blocks, mix, step, cancel)
        if checkpoint is None:
            return blocks_from(0)
        lead = (len(self.stems), mix.channels)
        binding = {"stems": self.stems, "parameters": self.parameters}
        core = _CORE_FRAMES * _hop(mix)
        edges = range(core, mix.length, core)
        return checkpoint.resume(blocks_from, lead, mix.length, binding, edges, mix.sample_rate)

    def _blocks(
        self, mix: Audio, step: Callable[[float], None], cancel: CancelToken, begin: int
    ) -> Iterator[FloatArray]:
        """Separate from a sample on, at which a block begins."""
        hop = _hop(mix)
        n_fft = 4 * hop
        core = _CORE_FRAMES * hop
        # What a median and a frame can reach: windows that start on the frame grid with this much around
        # them give the same samples as the whole recording at once.
        context = (_MEDIAN // 2 + 1) * hop + n_fft
        pairs = stereo_pairs(labelled(mix))
        for start in range(begin, mix.length, core):
            cancel.check()
            stop = min(start + core, mix.length)
            lo, hi = max(start - context, 0), min(stop + context, mix.length)
            # A frame must fit into the window, however short the recording.
            block = mix.window(lo, max(hi, lo + n_fft))
            out = np.empty((len(self.stems), *block.shape), dtype=np.float32)
            for left, right in pairs:
                channels = [left] if left == right else [left, right]
                out[:, channels] = _stems(block[channels], mix.sample_rate, n_fft, hop)
            step(stop / mix.length)
            yield out[..., start - lo : stop - lo]


def _hop(mix: Audio) -> int:
    return int(2 ** round(np.log2(_FRAME_S * mix.sample_rate))) // 4


def _stems(block: FloatArray, sample_rate: int, n_fft: int, hop: int) -> FloatArray:
    """Separate float32 (1 or 2, n >= n_fft) into float32 (stems, 1 or 2, n)."""
    import librosa

    spectrum = np.stack([librosa.stft(channel, n_fft=n_fft, hop_length=hop) for channel in block])
    harmonic, percussive = librosa.decompose.hpss(
        np.sqrt((np.abs(spectrum) ** 2).mean(axis=0)), kernel_size=_MEDIAN, mask=True
    )
    hz = librosa.fft_frequencies(sr=sample_rate, n_fft=n_fft)[:, None]
    low = 1.0 - _rise(hz, *_BASS_HZ)
    middle = _rise(hz, *_VOCALS_HZ[:2]) * (1.0 - _rise(hz, *_VOCALS_HZ[2:]))
    masks = {
        "drums": percussive,
        "bass": harmonic * low,
        "vocals": harmonic * middle * _centre(spectrum),
    }
    length = block.shape[1]
    drums, bass, vocals = (
        _on_grid(
            np.stack(
                [
                    librosa.istft(channel * mask, hop_length=hop, n_fft=n_fft, length=length)
                    for channel in spectrum
                ]
            )
        )
        for mask in masks.values()
    )
    return np.stack([drums, bass, block - (drums + bass + vocals), vocals])


def _centre(spectrum: npt.NDArray[np.complex64]) -> FloatArray:
    """How much of each bin both channels share in phase.

    Args:
        spectrum: complex64 (1 or 2, bins, frames).

    Returns:
        float32 (bins, frames) 0..1; a mono recording tells nothing about place, so half of it is centre.
    """
    if len(spectrum) == 1:
        return np.full(spectrum.shape[1:], 0.5, dtype=np.float32)
    left, right = spectrum
    power = np.abs(left) ** 2 + np.abs(right) ** 2
    shared = 2.0 * np.real(left * np.conj(right)) / np.maximum(power, np.finfo(np.float32).tiny)
    return np.asarray(np.clip(shared, 0.0, 1.0) ** _CENTRE_POWER, dtype=np.float32)


def _rise(hz: npt.NDArray[np.float64], lo: float, hi: float) -> FloatArray:
    """Raised-cosine step over log frequency from 0 at ``lo`` to 1 at ``hi``."""
    x = np.clip(np.log(np.maximum(hz, 1e-3) / lo) / np.log(hi / lo), 0.0, 1.0)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * x), dtype=np.float32)


def _on_grid(samples: FloatArray) -> FloatArray:
    return np.asarray(np.rint(samples * _GRID) / _GRID, dtype=np.float32)
