import numpy as np
import pytest

from pipeline.estimators.loudness import MOST_POINTS, LoudnessEstimator
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


def test_every_stem_is_measured() -> None:
    found = LoudnessEstimator().estimate(recording(tone(997, 5), {"other": 0.1 * tone(997, 5)}), {})
    whole, stem = found.integrated_lufs, found.stems["other"].integrated_lufs
    assert whole is not None and stem == pytest.approx(whole - 20, abs=0.05)


def test_the_curve_follows_the_level_and_its_tops_are_the_maxima() -> None:
    found = LoudnessEstimator().estimate(recording(np.concatenate([0.1 * tone(997, 10), tone(997, 10)])), {})
    assert found.curve is not None and found.curve.step_s == 0.1
    assert found.curve.momentary_lufs[20] == pytest.approx(-29.0, abs=0.1)
    assert found.curve.momentary_lufs[150] == pytest.approx(-9.0, abs=0.1)
    assert found.momentary_max_lufs == max(level for level in found.curve.momentary_lufs if level is not None)
    assert found.short_term_max_lufs == pytest.approx(-9.0, abs=0.1)
    assert found.plr_lu == pytest.approx(-6.0 - found.integrated_lufs, abs=0.1)  # type: ignore[operator]


def test_a_curve_never_has_more_points_than_can_be_shown() -> None:
    found = LoudnessEstimator().estimate(recording(tone(997, 130, 8000), rate=8000), {})
    assert found.curve is not None and len(found.curve.momentary_lufs) <= MOST_POINTS
    assert found.curve.step_s == pytest.approx(0.3)


def test_silence_leaves_gaps_in_the_curve() -> None:
    found = LoudnessEstimator().estimate(recording(np.zeros(5 * RATE)), {})
    assert found.curve is not None and set(found.curve.momentary_lufs) == {None}
