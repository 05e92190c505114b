import mir_eval
import numpy as np
import pytest

from pipeline.annotations import Beats
from pipeline.estimators.beats import BeatsEstimator
from pipeline.estimators.tempo import TempoEstimator
from tests.unit.estimators.signals import (
    RATE,
    Signal,
    changing,
    chord,
    click,
    drum_kit,
    hits,
    kick,
    noise,
    recording,
    steady,
)


def beats(signal: Signal, stems: dict[str, Signal] | None = None) -> Beats:
    listened = recording(signal, stems)
    return BeatsEstimator().estimate(listened, {"tempo": TempoEstimator().estimate(listened, {})})


def f_measure(truth: Signal, found: Beats) -> float:
    return float(
        mir_eval.beat.f_measure(
            mir_eval.beat.trim_beats(truth), mir_eval.beat.trim_beats(np.array(found.times_s))
        )
    )


@pytest.mark.parametrize("bpm", [60, 97.3, 174])
def test_beats_lie_on_the_clicks_of_a_metronome(bpm: float) -> None:
    truth = steady(bpm, 20)
    found = beats(hits(truth, 20, click()))
    assert len(found.times_s) == len(truth)
    assert np.abs(np.array(found.times_s) - truth).max() < 0.02
    assert found.confidence > 0.9


def test_beats_lie_on_kick_and_snare() -> None:
    truth = steady(118, 30)
    assert f_measure(truth, beats(drum_kit(truth, 30))) > 0.98


def test_an_acceleration_is_followed() -> None:
    truth = changing(lambda time: 90 + time / 2, 60)
    assert f_measure(truth, beats(drum_kit(truth, 60))) > 0.95


def test_a_new_tempo_in_the_middle_is_followed() -> None:
    truth = changing(lambda time: 100 if time < 30 else 130, 60)
    assert f_measure(truth, beats(drum_kit(truth, 60))) > 0.95


def test_beats_keep_to_the_level_that_the_tempo_names() -> None:
    listened = recording(hits(steady(120, 20), 20, click()))
    half = TempoEstimator().estimate(listened, {}).model_copy(update={"bpm": 60.0})
    found = BeatsEstimator().estimate(listened, {"tempo": half})
    assert np.median(np.diff(found.times_s)) == pytest.approx(1.0, abs=0.02)


def test_a_tempo_is_found_where_none_was_estimated_before() -> None:
    found = BeatsEstimator().estimate(recording(drum_kit(steady(120, 20), 20)), {})
    assert np.median(np.diff(found.times_s)) == pytest.approx(0.5, abs=0.01)


def test_no_beats_are_put_into_silence() -> None:
    played = steady(120, 15, first_s=5.0)
    found = beats(hits(played, 25, click()))
    assert found.times_s[0] > 4.5
    assert found.times_s[-1] < 15.5


def test_drums_outvote_a_bass_that_plays_between_the_beats() -> None:
    truth = steady(96, 30)
    drums = hits(truth[::2], 30, kick()) + hits(truth[1::2], 30, 0.5 * click())
    bass = hits((truth[1:] + truth[:-1]) / 2, 30, 6 * chord([-20], 0.3))
    found = beats(drums + bass, {"drums": drums, "bass": bass})
    assert found.source == "drums+mix"
    assert f_measure(truth, found) > 0.95


def test_drums_that_are_mere_bleed_are_not_listened_to() -> None:
    mix = hits(steady(96, 15), 15, chord([0, 4, 7], 0.6))
    assert beats(mix, {"drums": 0.01 * noise(15), "other": mix}).source == "mix"


@pytest.mark.parametrize("signal", [np.zeros(10 * RATE), noise(10), noise(0.1), np.eye(1, 5 * RATE, RATE)[0]])
def test_where_nothing_repeats_there_are_no_beats_or_no_confidence_in_them(signal: Signal) -> None:
    found = beats(signal)
    assert found.confidence < 0.1
    assert found.times_s == sorted(found.times_s)
