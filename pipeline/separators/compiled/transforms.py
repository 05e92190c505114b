"""Between waveform and spectrum as HTDemucs takes them, in the order in memory that compiled networks want.

A spectrum is float32 (frequencies, frames, rows) with interleaved real and imaginary parts as rows: "complex
as channels", channels last. The frequencies come first in memory: the transforms run along the outer axis,
and neither they nor the network have to turn 44 MB around.

The arithmetic is that of `demucs.htdemucs.HTDemucs._spec` and ``_ispec``: Hann windows of ``n_fft`` samples
every quarter of it, orthonormal transforms, without the highest frequency, and without the frames that a
segment's borders share with its surroundings.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pipeline.audio import FloatArray

_FRAMES: Final = 24
"""Transformed back at a time: those of a whole segment would take 44 MB, which no cache holds."""


def spectrum_frames(samples: int, n_fft: int) -> int:
    """Frames of the spectrum of a segment."""
    return -(-samples // (n_fft // 4))


def to_spectrum(wave: FloatArray, n_fft: int) -> FloatArray:
    """Transform a segment.

    Args:
        wave: float32 (channels, samples), longer than a window.
        n_fft: samples of a window.

    Returns:
        float32 (n_fft / 2, frames, 2 * channels).
    """
    from scipy.fft import rfft

    hop, frames = n_fft // 4, spectrum_frames(wave.shape[-1], n_fft)
    # demucs reflects by 1.5 hops, transforms with two hops more on either side, and drops two frames there:
    # what is left begins at the reflection's first sample.
    lead = hop // 2 * 3
    missing = (frames + 3) * hop - lead - wave.shape[-1]
    padded = np.pad(wave, ((0, 0), (lead, missing)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, n_fft, axis=-1)[:, ::hop]
    weighed = windows.transpose(2, 1, 0) * _hann(n_fft)[:, None, None]
    spectrum = rfft(weighed, axis=0, norm="ortho")[:-1]
    return np.ascontiguousarray(spectrum).view(np.float32)


def to_wave(spectrum: FloatArray, samples: int) -> FloatArray:
    """Transform spectra back.

    Args:
        spectrum: float32 (n_fft / 2, frames, 2 * rows).
        samples: of the segment.

    Returns:
        float32 (rows, samples).
    """
    from scipy.fft import irfft

    frames, n_fft = spectrum.shape[1], 2 * spectrum.shape[0]
    hop = n_fft // 4
    window = _hann(n_fft)
    total = np.zeros((hop, frames + 3, spectrum.shape[2] // 2), dtype=np.float32)
    # The same everywhere: demucs adds frames of zeros around, so the borders are divided by it too.
    weights = (window / np.tile((window**2).reshape(4, hop).sum(axis=0), 4))[:, None, None]
    for first in range(0, frames, _FRAMES):
        some = np.ascontiguousarray(spectrum[:, first : first + _FRAMES])
        windows = irfft(some.view(np.complex64), n=n_fft, axis=0, norm="ortho")
        windows *= weights
        for quarter in range(4):
            begin = first + quarter
            total[:, begin : begin + some.shape[1]] += windows[quarter * hop : (quarter + 1) * hop]
    waves = np.ascontiguousarray(total.transpose(2, 1, 0)).reshape(windows.shape[2], -1)
    lead = hop // 2 * 3
    return waves[:, lead : lead + samples]


def _hann(n: int) -> FloatArray:
    """A periodic Hann window, float32 (n,)."""
    return np.asarray(0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n) / n), dtype=np.float32)
