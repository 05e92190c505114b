import numpy as np
import pytest

from pipeline.estimators.loudness import LoudnessEstimator
from tests.unit.estimators.signals import RATE, recording, tone


def test_the_mix_is_measured_in_all_its_channels() -> None:
    both = np.stack([tone(997, 5), tone(997, 5)])
    found = LoudnessEstimator().estimate(recording(both, {"other": 0.1 * both}), {})
    assert found.source == "mix"
    assert found.integrated_lufs == pytest.approx(-6.02, abs=0.05)
    assert found.range_lu == pytest.approx(0, abs=0.05)
    assert found.true_peak_dbtp == pytest.approx(-6.02, abs=0.1)
    assert found.sample_peak_dbfs == pytest.approx(-6.02, abs=0.05)


def test_silence_has_no_figures() -> None:
    found = LoudnessEstimator().estimate(recording(np.zeros(5 * RATE)), {})
    assert (found.integrated_lufs, found.range_lu, found.true_peak_dbtp, found.sample_peak_dbfs) == (
        None,
    ) * 4
