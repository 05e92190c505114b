import numpy as np
import pytest

from pipeline.annotations import Spectrum
from pipeline.estimators.spectrum import BANDS_HZ, SpectrumEstimator
from tests.unit.estimators.signals import Signal, noise, recording, tone


def spectrum(signal: Signal, rate: int = 22050) -> Spectrum:
    return SpectrumEstimator().estimate(recording(signal, rate=rate), {})


@pytest.mark.parametrize(("rate", "hz"), [(8000, 300), (44100, 1000), (96000, 8000)])
def test_a_tone_is_all_at_its_frequency_and_not_flat(rate: int, hz: float) -> None:
    found = spectrum(tone(hz, 5, rate), rate)
    assert found.centroid_hz == pytest.approx(hz, rel=0.01)
    assert found.rolloff_hz == pytest.approx(hz, rel=0.02)
    assert found.bandwidth_hz is not None and found.bandwidth_hz < 0.1 * hz
    assert found.flatness is not None and found.flatness < 0.01


def test_white_noise_is_flat_and_its_centre_lies_in_the_middle() -> None:
    found = spectrum(noise(20))
    assert found.flatness == pytest.approx(1.0, abs=0.03)
    assert found.centroid_hz == pytest.approx(22050 / 4, rel=0.02)
    assert found.rolloff_hz == pytest.approx(0.85 * 11025, rel=0.02)


def test_bands_tell_where_the_energy_is() -> None:
    found = spectrum(tone(100, 10) + 0.1 * tone(3000, 10))
    assert found.band_energy_db["bass"] == pytest.approx(0, abs=0.1)
    assert found.band_energy_db["upper_mid"] == pytest.approx(-20, abs=0.2)
    assert list(found.band_energy_db) == list(BANDS_HZ)


def test_a_band_beyond_the_sample_rate_has_no_energy() -> None:
    assert spectrum(tone(300, 2, 8000), 8000).band_energy_db["brilliance"] is None


def test_what_is_in_opposite_phase_on_both_sides_does_not_vanish() -> None:
    side = tone(2000, 5)
    assert spectrum(np.stack([side, -side])).centroid_hz == pytest.approx(2000, rel=0.01)


def test_an_offset_changes_nothing_but_the_ends() -> None:
    found, shifted = spectrum(noise(20)), spectrum(noise(20) + 0.05)
    assert shifted.centroid_hz == pytest.approx(found.centroid_hz, rel=0.01)


def test_loud_passages_decide() -> None:
    parts = np.concatenate([tone(200, 5), 0.01 * tone(5000, 5)])
    assert spectrum(parts).centroid_hz == pytest.approx(200, rel=0.03)


@pytest.mark.parametrize("samples", [0, 1, 50000])
def test_silence_has_no_spectrum(samples: int) -> None:
    found = spectrum(np.zeros(samples))
    assert (found.centroid_hz, found.bandwidth_hz, found.rolloff_hz, found.flatness) == (None,) * 4
    assert set(found.band_energy_db.values()) == {None}
