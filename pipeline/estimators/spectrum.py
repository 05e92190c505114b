"""Summary of the spectrum over the whole recording."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.annotations import Annotation, Spectrum
from pipeline.estimators.base import Recording
from pipeline.estimators.frames import power_frames

BANDS_HZ: Final = {
    "sub_bass": (20, 60),
    "bass": (60, 250),
    "low_mid": (250, 500),
    "mid": (500, 2000),
    "upper_mid": (2000, 4000),
    "presence": (4000, 6000),
    "brilliance": (6000, 20000),
}
"""The bands that mixing engineers speak of, in Hz."""

LOWEST_HZ = 20.0
"""Below lie offset and rumble, which nobody hears and which would move every figure."""

FLATNESS_HZ = (50.0, 10_000.0)
"""Where even a lossy file at a low bit rate still has a spectrum: above, empty bins mean nothing."""

ROLLOFF_SHARE = 0.85
WINDOW_S = 0.08

_PERIODOGRAM_BIAS = float(np.exp(-np.euler_gamma))
"""Flatness of white noise in a single frame, whose bins scatter like an exponential distribution."""


class SpectrumEstimator:
    """Averages power spectra of all channels at the mix's own sample rate.

    Channels are added after the transform, so that what is in opposite phase on left and right does
    not vanish as it would in a mono sum.
    """

    name = "spectrum"
    method = "power spectra of 80 ms frames, weighted by energy"
    version = "1"
    needs: tuple[str, ...] = ()
    budget = 0.2

    def estimate(self, recording: Recording, found: Mapping[str, Annotation]) -> Spectrum:
        """Summarise the mix.

        Args:
            recording: the mix and its stems.
            found: not used.

        Returns:
            Spectrum, all null for silence.
        """
        mix = recording.mix
        window = 1 << int(np.ceil(np.log2(mix.sample_rate * WINDOW_S)))
        hz = np.fft.rfftfreq(window, 1 / mix.sample_rate)
        audible = hz >= LOWEST_HZ
        tonal = (hz >= FLATNESS_HZ[0]) & (hz <= min(FLATNESS_HZ[1], 0.45 * mix.sample_rate))
        power, flat = np.zeros(len(hz)), 0.0
        for frames in power_frames(mix, window):
            frames[:, ~audible] = 0.0
            power += frames.sum(axis=0)
            flat += _flatness_by_energy(frames[:, tonal])
        heard = float(power[tonal].sum())
        total = float(power.sum())
        if total <= 0:
            return self._spectrum(dict.fromkeys(BANDS_HZ, None))
        share = power / total
        centroid = float(hz @ share)
        return self._spectrum(
            {
                name: _decibel(float(share[(hz >= low) & (hz < high)].sum()))
                for name, (low, high) in BANDS_HZ.items()
            },
            centroid_hz=round(centroid, 1),
            bandwidth_hz=round(float(np.sqrt(share @ np.square(hz - centroid))), 1),
            rolloff_hz=round(float(hz[np.searchsorted(np.cumsum(share), ROLLOFF_SHARE)]), 1),
            flatness=round(min(flat / heard / _PERIODOGRAM_BIAS, 1.0), 4) if heard > 0 else None,
        )

    def _spectrum(
        self,
        band_energy_db: dict[str, float | None],
        centroid_hz: float | None = None,
        bandwidth_hz: float | None = None,
        rolloff_hz: float | None = None,
        flatness: float | None = None,
    ) -> Spectrum:
        return Spectrum(
            method=self.method,
            version=self.version,
            source="mix",
            centroid_hz=centroid_hz,
            bandwidth_hz=bandwidth_hz,
            rolloff_hz=rolloff_hz,
            flatness=flatness,
            band_energy_db=band_energy_db,
        )


def _decibel(share: float) -> float | None:
    return round(float(10 * np.log10(share)), 2) if share > 0 else None


def _flatness_by_energy(frames: npt.NDArray[np.float64]) -> float:
    """Sum over frames of energy times flatness, the geometric over the arithmetic mean of power."""
    if not frames.shape[1]:
        return 0.0
    mean = frames.mean(axis=1)
    sounding = mean > 0
    # 100 dB below the mean is as good as nothing, and keeps an exact zero out of the logarithm.
    floored = np.maximum(frames[sounding], 1e-10 * mean[sounding, None])
    geometric = np.exp(np.log(floored).mean(axis=1))
    return float(geometric.sum() * frames.shape[1])
