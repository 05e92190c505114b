import numpy as np
import numpy.typing as npt
import pytest

from pipeline.audio import Audio
from pipeline.loudness import SURROUND_WEIGHT, k_weighting, measure

RATES = [8000, 11025, 22050, 44100, 48000, 96000, 192000]


def sine(level_dbfs: float, seconds: float, rate: int = 48000, hz: float = 997.0) -> npt.NDArray[np.float32]:
    """A sine whose peak lies at ``level_dbfs``: float32 (1, samples)."""
    time = np.arange(round(seconds * rate)) / rate
    return (10 ** (level_dbfs / 20) * np.sin(2 * np.pi * hz * time)).astype(np.float32)[None]


def faded(samples: npt.NDArray[np.float32], fade: int = 4000) -> npt.NDArray[np.float32]:
    ramp = np.minimum(1, np.arange(samples.shape[1]) / fade)
    return (samples * np.minimum(ramp, ramp[::-1])).astype(np.float32)


def stereo(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.repeat(samples, 2, axis=0)


def integrated(samples: npt.NDArray[np.float32], rate: int = 48000) -> float:
    value = measure(Audio(samples, rate)).integrated_lufs
    assert value is not None
    return value


def test_the_filter_equals_the_table_that_the_standard_gives_for_48_khz() -> None:
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585]
    high_pass = [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621]
    np.testing.assert_allclose(k_weighting(48000), [shelf, high_pass], atol=1e-12)


@pytest.mark.parametrize("rate", RATES)
def test_a_full_scale_sine_of_997_hz_reads_minus_3_01_lufs_at_any_sample_rate(rate: int) -> None:
    # BS.1770-5 annex 1: "the result will be -3.01 LKFS" for one channel.
    assert integrated(sine(0, 5, rate), rate) == pytest.approx(-3.01, abs=0.05)


def test_two_loudspeakers_are_3_db_louder_than_one() -> None:
    assert integrated(stereo(sine(-23, 5))) == pytest.approx(-23.0, abs=0.02)
    assert integrated(sine(-23, 5)) == pytest.approx(-26.01, abs=0.02)


def test_only_the_side_loudspeakers_of_a_surround_layout_weigh_more() -> None:
    surround_lu = 10 * np.log10(SURROUND_WEIGHT)
    for channels, heavier in {1: [], 2: [], 4: [], 5: [3, 4], 6: [4, 5], 8: [6, 7]}.items():
        for channel in range(channels):
            samples = np.zeros((channels, 48000), dtype=np.float32)
            samples[channel] = sine(-20, 1)
            loudness = measure(Audio(samples, 48000)).integrated_lufs
            if channels >= 6 and channel == 3:
                assert loudness is None, "the low-frequency channel does not count"
            else:
                expected = -23.01 + (surround_lu if channel in heavier else 0)
                assert loudness == pytest.approx(expected, abs=0.05), (channels, channel)


def test_what_lies_more_than_10_lu_below_the_mean_is_gated() -> None:
    # EBU Tech 3341 case 3: 10 s at -36, 60 s at -23, 10 s at -36 dBFS read -23 LUFS.
    samples = np.concatenate([sine(-36, 10), sine(-23, 60), sine(-36, 10)], axis=1)
    assert integrated(stereo(samples)) == pytest.approx(-23.0, abs=0.1)


def test_what_lies_below_minus_70_lufs_is_gated_first() -> None:
    # EBU Tech 3341 case 4: nothing below -70 LUFS may pull the relative gate down.
    parts = [(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)]
    samples = np.concatenate([sine(level, seconds) for level, seconds in parts], axis=1)
    assert integrated(stereo(samples)) == pytest.approx(-23.0, abs=0.1)


def test_a_passage_10_lu_below_counts_where_the_mean_is_not_far_above() -> None:
    # EBU Tech 3341 case 5.
    samples = np.concatenate([sine(-26, 20), sine(-20, 20.1), sine(-26, 20)], axis=1)
    assert integrated(stereo(samples)) == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize(("quiet", "loud", "range_lu"), [(-30, -20, 10), (-20, -15, 5), (-40, -20, 20)])
def test_the_range_is_the_distance_between_two_levels(quiet: float, loud: float, range_lu: float) -> None:
    # EBU Tech 3342, cases 1 to 3.
    samples = stereo(np.concatenate([sine(loud, 20), sine(quiet, 20)], axis=1))
    assert measure(Audio(samples, 48000)).range_lu == pytest.approx(range_lu, abs=0.1)


def test_a_constant_tone_has_no_range_and_less_than_three_seconds_have_none_at_all() -> None:
    assert measure(Audio(sine(-20, 10), 48000)).range_lu == pytest.approx(0, abs=0.01)
    assert measure(Audio(sine(-20, 2.9), 48000)).range_lu is None


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("degrees", [0, 30, 45, 60])
def test_a_peak_between_samples_is_found(rate: int, degrees: float) -> None:
    # EBU Tech 3341 cases 15 to 19: a quarter of the sample rate, at several phases.
    phase = np.arange(rate) * np.pi / 2 + np.deg2rad(degrees)
    samples = faded((0.5 * np.sin(phase)).astype(np.float32)[None], rate // 10)
    found = measure(Audio(samples, rate))
    assert found.true_peak_dbtp == pytest.approx(-6.02, abs=0.1)
    assert found.sample_peak_dbfs == pytest.approx(20 * np.log10(np.abs(samples).max()), abs=1e-4)


@pytest.mark.parametrize("share", [0.05, 0.2, 1 / 3, 0.4, 0.45])
def test_peaks_of_any_audible_tone_are_found_within_a_tenth_of_a_db(share: float) -> None:
    for phase in np.linspace(0, np.pi, 5):
        samples = faded(np.sin(2 * np.pi * share * np.arange(44100) + phase).astype(np.float32)[None])
        assert measure(Audio(samples, 44100)).true_peak_dbtp == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("offset", range(4))
def test_a_peak_between_samples_is_found_wherever_they_lie(offset: int) -> None:
    """As EBU Tech 3341 signals 20 to 23."""
    fine = np.arange(4 * 48_000) - 96_000
    wave = (0.5 + 0.5 * np.exp(-0.5 * np.square(fine / 1200))) * np.cos(2 * np.pi * fine / 24)
    samples = np.stack([wave[offset::4]] * 2).astype(np.float32)
    assert measure(Audio(samples, 48_000)).true_peak_dbtp == pytest.approx(0.0, abs=0.2)


def test_the_true_peak_is_never_below_the_largest_sample() -> None:
    impulse = np.zeros((2, 44100), dtype=np.float32)
    impulse[1, 20000] = -0.8
    found = measure(Audio(impulse, 44100))
    assert found.sample_peak_dbfs == pytest.approx(20 * np.log10(0.8))
    assert found.true_peak_dbtp is not None and found.true_peak_dbtp >= found.sample_peak_dbfs


@pytest.mark.parametrize("samples", [0, 1, 100, 4800, 48000, 480000])
def test_silence_of_any_length_has_no_figures(samples: int) -> None:
    found = measure(Audio(np.zeros((2, samples), dtype=np.float32), 48000))
    assert (found.integrated_lufs, found.range_lu) == (None, None)
    assert (found.true_peak_dbtp, found.sample_peak_dbfs) == (None, None)


def test_less_than_one_gating_block_has_peaks_and_no_loudness() -> None:
    found = measure(Audio(sine(-6, 0.39), 48000))
    assert found.integrated_lufs is None
    assert found.sample_peak_dbfs == pytest.approx(-6.0, abs=0.01)
    assert measure(Audio(sine(-6, 0.4), 48000)).integrated_lufs is not None


def test_a_gain_moves_loudness_and_peaks_by_exactly_as_much() -> None:
    noise = np.random.default_rng(1).standard_normal((2, 5 * 44100)).astype(np.float32) * np.float32(0.1)
    before, after = measure(Audio(noise, 44100)), measure(Audio(noise / 2, 44100))
    for name in ("integrated_lufs", "true_peak_dbtp", "sample_peak_dbfs"):
        assert getattr(before, name) - getattr(after, name) == pytest.approx(6.0206, abs=1e-3)
    assert after.range_lu == pytest.approx(before.range_lu, abs=1e-3)


def test_an_offset_is_not_heard() -> None:
    tone = faded(stereo(sine(-20, 10)))
    assert integrated(tone + np.float32(0.3)) == pytest.approx(integrated(tone), abs=0.2)


def test_a_map_of_an_interleaved_file_reads_like_the_same_samples_in_memory(tmp_path: object) -> None:
    noise = np.random.default_rng(2).standard_normal((3 * 44100 + 17, 2)).astype(np.float32) * np.float32(0.1)
    file = f"{tmp_path}/interleaved.f32"
    noise.tofile(file)
    mapped = np.memmap(file, dtype=np.float32, mode="r", shape=noise.shape)
    assert measure(Audio(mapped.T, 44100)) == measure(Audio(np.ascontiguousarray(noise.T), 44100))
