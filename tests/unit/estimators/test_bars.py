import numpy as np
import pytest

from pipeline.annotations import Beats
from pipeline.estimators.bars import count_bars
from pipeline.estimators.beats import BeatsEstimator
from pipeline.estimators.tempo import TempoEstimator
from tests.unit.estimators.signals import (
    Signal,
    changing,
    chord,
    click,
    drum_kit,
    hits,
    noise,
    recording,
    steady,
)

PROGRESSION = ((0, 4, 7), (5, 9, 12), (7, 11, 14), (9, 12, 16))


def odds(size: int, bars: int, upbeat: int = 0) -> Signal:
    """Evidence as of chords that change on the first beat of three bars in four."""
    beats = np.arange(size * bars)
    first = (beats - upbeat) % size == 0
    skipped = (beats - upbeat) // size % 4 == 3
    return np.where(first & ~skipped, 2.0, -0.5) + np.random.default_rng(size).normal(0, 0.3, len(beats))


def song(beats_s: Signal, size: int, seconds: float) -> Signal:
    """Another chord on the first beat of every bar, struck again on each beat."""
    out = np.zeros(round(seconds * 22050))
    for bar, tones in enumerate(PROGRESSION):
        mine = [time for i, time in enumerate(beats_s) if i // size % len(PROGRESSION) == bar]
        out += hits(mine, seconds, chord([tone - 12 for tone in tones], 0.6))
    return out


def beats(signal: Signal) -> Beats:
    listened = recording(signal)
    return BeatsEstimator().estimate(listened, {"tempo": TempoEstimator().estimate(listened, {})})


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("upbeat", [0, 1])
def test_bars_of_every_size_are_counted_from_their_first_beat(size: int, upbeat: int) -> None:
    bars = count_bars(odds(size, 20, upbeat))
    assert bars.size == size
    assert np.array_equal(np.flatnonzero(bars.places == 0), np.arange(upbeat, size * 20, size))


def test_a_new_meter_in_the_middle_is_followed() -> None:
    bars = count_bars(np.concatenate([odds(4, 12), odds(3, 16)]))
    assert set(bars.sizes[:44]) == {4}
    assert set(bars.sizes[52:]) == {3}


def test_chance_makes_no_bars_to_be_sure_of() -> None:
    sure = [count_bars(np.random.default_rng(seed).normal(0, 0.3, 100)).confidence for seed in range(5)]
    assert max(sure) < count_bars(odds(4, 25)).confidence
    assert count_bars(odds(4, 25)).confidence > 0.95


@pytest.mark.parametrize("size", [3, 4, 5])
def test_first_beats_are_those_on_which_chords_change(size: int) -> None:
    truth = steady(110, 30)
    found = beats(song(truth, size, float(truth[-1]) + 0.4))
    assert found.meter == f"{size}/4"
    assert np.abs(np.array(found.downbeats_s)[:, None] - truth[::size]).min(axis=1)[:-1].max() < 0.04
    assert set(found.downbeats_s) <= set(found.times_s)
    assert [span.meter for span in found.meters] == [found.meter]
    assert found.meter_confidence > (0.5 if size < 5 else 0.05)


def test_beats_are_where_chords_change_even_under_louder_off_beats() -> None:
    truth = steady(80, 40)
    off = (truth[1:] + truth[:-1]) / 2
    found = beats(song(truth, 4, 40) + hits(off, 40, 0.2 * click()))
    nearest = np.abs(np.array(found.times_s)[:, None] - truth).min(axis=1)
    assert np.median(nearest) < 0.04


def test_drums_alone_have_bars_too() -> None:
    found = beats(drum_kit(steady(120, 30), 30))
    assert found.meter in {"2/4", "4/4"}


def test_noise_has_no_meter_to_be_sure_of() -> None:
    assert beats(noise(10)).meter_confidence < 0.1


@pytest.mark.parametrize("ratio", [1.0, 1.5, 2.0])
def test_swing_is_the_length_of_the_first_eighth_over_the_second(ratio: float) -> None:
    truth = steady(110, 30)
    late = truth[:-1] + np.diff(truth) * ratio / (1 + ratio)
    found = beats(hits(truth, 30, click()) + hits(late, 30, 0.6 * click()))
    assert found.swing_ratio == pytest.approx(ratio, rel=0.06)
    assert found.division == 2


def test_beats_in_thirds_do_not_swing() -> None:
    truth = steady(80, 30)
    thirds = [truth[:-1] + np.diff(truth) * part for part in (1 / 3, 2 / 3)]
    found = beats(hits(truth, 30, click()) + sum(hits(third, 30, 0.5 * click()) for third in thirds))
    if found.times_s[1] - found.times_s[0] > 0.5:
        assert (found.division, found.swing_ratio) == (3, None)


def test_beats_without_eighths_have_no_swing() -> None:
    found = beats(hits(steady(110, 30), 30, click()))
    assert (found.division, found.swing_ratio) == (None, None)


def test_a_tempo_that_rises_is_drawn_as_a_curve_with_its_drift() -> None:
    found = TempoEstimator().estimate(recording(drum_kit(changing(lambda time: 100 + time / 6, 60), 60)), {})
    assert found.drift_percent == pytest.approx(10, abs=2.5)
    assert found.curve[0].bpm < found.curve[-1].bpm
    assert len(found.curve) <= 240


def test_a_steady_tempo_does_not_drift() -> None:
    found = TempoEstimator().estimate(recording(drum_kit(steady(120, 30), 30)), {})
    assert found.drift_percent == pytest.approx(0, abs=0.1)
