"""Loudness of the mix after EBU R 128."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.annotations import Annotation, LoudnessValues
from pipeline.estimators.base import Recording
from pipeline.loudness import measure


class LoudnessEstimator:
    """Measures the mix at its own sample rate and in all its channels."""

    name = "loudness"
    method = "ITU-R BS.1770-5 integrated loudness and true peak, EBU Tech 3342 loudness range"
    version = "1"

    def estimate(self, recording: Recording, found: Mapping[str, Annotation]) -> LoudnessValues:
        """Measure the mix.

        Args:
            recording: the mix and its stems.
            found: not used.

        Returns:
            LoudnessValues, null where a figure is not defined (silence, too short).
        """
        figures = measure(recording.mix)
        return LoudnessValues(
            method=self.method,
            version=self.version,
            source="mix",
            integrated_lufs=_rounded(figures.integrated_lufs),
            range_lu=_rounded(figures.range_lu),
            true_peak_dbtp=_rounded(figures.true_peak_dbtp),
            sample_peak_dbfs=_rounded(figures.sample_peak_dbfs),
        )


def _rounded(value: float | None) -> float | None:
    # Meters show tenths; a hundredth keeps comparisons within the 0.1 LU of EBU Tech 3341 exact.
    return None if value is None else round(value, 2)
