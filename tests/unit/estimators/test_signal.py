import numpy as np
import pytest

from pipeline.annotations import SignalFigures
from pipeline.estimators.signal import SignalEstimator
from tests.unit.estimators.signals import RATE, Signal, noise, recording, tone


def figures(signal: Signal, rate: int = RATE) -> SignalFigures:
    return SignalEstimator().estimate(recording(signal, rate=rate), {}).mix


def low_passed(signal: Signal, hz: float, rate: int) -> Signal:
    spectrum = np.fft.rfft(signal)
    spectrum[np.fft.rfftfreq(len(signal), 1 / rate) > hz] = 0
    return np.fft.irfft(spectrum, len(signal))


def pink(seconds: float, rate: int) -> Signal:
    """Noise whose level falls evenly, as that of music does."""
    spectrum = np.fft.rfft(np.random.default_rng(5).standard_normal(round(seconds * rate)))
    spectrum[1:] /= np.arange(1, len(spectrum)) ** 0.8
    spectrum[0] = 0
    # Faded: a sudden beginning has every frequency in it.
    made = np.fft.irfft(spectrum) * np.hanning(round(seconds * rate))
    return 0.2 * made / np.std(made)


def test_an_offset_is_found() -> None:
    assert figures(tone(440, 3) + 0.02).dc_offset == pytest.approx(0.02, abs=1e-3)
    assert figures(tone(440, 3)).dc_offset == pytest.approx(0, abs=1e-3)


def test_peaks_that_were_cut_off_are_counted_where_they_are() -> None:
    loud = 4 * tone(440, 1)
    found = figures(np.concatenate([tone(440, 2), np.clip(loud, -1, 1), tone(440, 2)]))
    assert found.clipped_samples == pytest.approx(2 / 3 * RATE, rel=0.05)  # |sin| > 1/2 for two thirds
    assert [(span.start_s, span.end_s) for span in found.clipped] == [(2.0, 3.0)]


def test_a_full_scale_tone_is_not_clipped() -> None:
    assert figures(2 * tone(440, 3)).clipped_samples == 0
    assert figures(np.round(2 * tone(30, 3) * 32767) / 32767).clipped_samples < 100


def test_pauses_are_silence_and_hiss_is_the_floor() -> None:
    hiss = 10 ** (-70 / 20) * np.random.default_rng(1).standard_normal(9 * RATE)
    sound = np.concatenate([tone(440, 3), np.zeros(3 * RATE), tone(440, 3)])
    found = figures(sound + hiss)
    assert [(span.start_s, span.end_s) for span in found.silence] == [(3.0, 6.0)]
    assert found.silent_fraction == pytest.approx(1 / 3, abs=0.01)
    assert found.noise_floor_dbfs == pytest.approx(-70, abs=1)


@pytest.mark.parametrize(("side", "width", "correlation"), [(1.0, 0.0, 1.0), (-1.0, 1.0, -1.0)])
def test_the_stereo_image_is_described(side: float, width: float, correlation: float) -> None:
    left = noise(3)
    found = figures(np.stack([left, side * left]))
    assert (found.width, found.correlation) == (pytest.approx(width), pytest.approx(correlation))


def test_unrelated_channels_are_half_side() -> None:
    found = figures(np.stack([noise(5, 1), noise(5, 2)]))
    assert found.width == pytest.approx(0.5, abs=0.02)
    assert found.correlation == pytest.approx(0, abs=0.02)


def test_a_mono_recording_has_no_image() -> None:
    found = figures(noise(2))
    assert (found.width, found.correlation) == (None, None)


@pytest.mark.parametrize("hz", [11025.0, 16000.0, 20000.0])
def test_what_a_codec_or_a_lower_rate_cut_off_is_noticed(hz: float) -> None:
    rate = 48000
    found = figures(low_passed(pink(5, rate), hz, rate) + 1e-5 * noise(5 * rate / RATE)[: 5 * rate], rate)
    assert found.band_limited is True
    assert found.bandwidth_hz == pytest.approx(hz, abs=400)


def test_a_spectrum_that_falls_evenly_is_not_limited() -> None:
    found = figures(pink(5, 44100), 44100)
    assert found.band_limited is False
    assert found.bandwidth_hz == pytest.approx(22050, abs=400)


def test_stems_are_measured_too() -> None:
    found = SignalEstimator().estimate(recording(noise(2), {"drums": noise(2) + 0.1}), {})
    assert found.stems["drums"].dc_offset == pytest.approx(0.1, abs=0.01)


def test_silence_has_neither_floor_nor_band() -> None:
    found = figures(np.zeros((2, 3 * RATE)))
    assert (found.noise_floor_dbfs, found.width, found.correlation) == (None, None, None)
    assert (found.bandwidth_hz, found.band_limited, found.silent_fraction) == (None, None, 1.0)
