import numpy as np
import pytest

from pipeline.annotations import Tempo
from pipeline.estimators import tracking
from pipeline.estimators.tempo import TempoEstimator
from tests.unit.estimators.signals import (
    RATE,
    Signal,
    changing,
    chord,
    click,
    drum_kit,
    hat,
    hits,
    kick,
    noise,
    recording,
    snare,
    steady,
    syllables,
    tone,
)


def tempo(signal: Signal) -> Tempo:
    return TempoEstimator().estimate(recording(signal), {})


@pytest.mark.parametrize("bpm", [52, 60, 72.5, 97.3, 120, 133, 150, 174])
def test_a_metronome_is_read_to_a_thousandth(bpm: float) -> None:
    found = tempo(hits(steady(bpm, 30), 30, click()) + 0.01 * noise(30))
    assert found.bpm == pytest.approx(bpm, rel=1e-3)


@pytest.mark.parametrize("bpm", [72, 90, 104.6, 120, 128, 140])
def test_a_drum_kit_is_read_at_the_level_of_kick_and_snare_with_confidence(bpm: float) -> None:
    found = tempo(drum_kit(steady(bpm, 30), 30))
    assert found.bpm == pytest.approx(bpm, rel=1e-3)
    assert found.confidence > 0.5
    assert found.source == "mix"


def test_a_waltz_is_not_read_at_two_thirds_of_its_tempo() -> None:
    beats = steady(150, 30)
    waltz = hits(beats[::3], 30, kick()) + hits(beats[1::3], 30, snare()) + hits(beats[2::3], 30, snare())
    assert tempo(waltz + hits(beats, 30, hat())).bpm == pytest.approx(150, rel=1e-3)


def test_half_and_double_are_among_the_alternatives_and_confidences_are_shares() -> None:
    found = tempo(drum_kit(steady(100, 30), 30))
    tempi = [candidate.bpm for candidate in found.candidates]
    assert any(bpm == pytest.approx(50, rel=0.01) for bpm in tempi)
    assert any(bpm == pytest.approx(200, rel=0.01) for bpm in tempi)
    confidences = [candidate.confidence for candidate in found.candidates]
    assert confidences == sorted(confidences, reverse=True)
    assert sum(confidences) <= 1.001
    assert (found.bpm, found.confidence) == (tempi[0], confidences[0])


def test_the_level_of_a_recording_does_not_matter() -> None:
    kit = drum_kit(steady(120, 15), 15)
    assert tempo(kit * 0.001).candidates == tempo(kit).candidates


def test_a_quiet_half_does_not_hide_the_beat() -> None:
    kit = drum_kit(steady(110, 30), 30)
    kit[: len(kit) // 2] *= 0.01
    assert tempo(kit).bpm == pytest.approx(110, rel=1e-3)


def test_soft_chords_have_a_tempo_too() -> None:
    beats = steady(84, 30)
    bars = hits(beats[::2], 30, chord([0, 4, 7], 1.2)) + hits(beats[1::2], 30, chord([7, 11, 14], 1.2))
    assert tempo(bars).bpm == pytest.approx(84, rel=2e-3)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("seconds", [5, 20])
def test_noise_has_no_tempo(seconds: float, seed: int) -> None:
    found = tempo(noise(seconds, seed))
    assert found.confidence < 0.1


@pytest.mark.parametrize("seed", range(5))
def test_speech_has_next_to_no_tempo(seed: int) -> None:
    assert tempo(syllables(20, seed)).confidence < 0.3


@pytest.mark.parametrize("seed", range(3))
def test_random_hits_have_next_to_no_tempo(seed: int) -> None:
    times = np.sort(np.random.default_rng(seed).uniform(0, 29, 120))
    assert tempo(hits(times, 30, snare())).confidence < 0.2


def test_rubato_has_a_low_confidence() -> None:
    beats = changing(lambda time: 80 + 25 * np.sin(time / 1.5), 30)
    assert tempo(hits(beats, 30, chord([0, 4, 7], 1.0))).confidence < 0.35


@pytest.mark.parametrize(
    "signal",
    [np.zeros(30 * RATE), tone(330, 20), np.full(10 * RATE, 0.3), hits([1.0, 2.0], 4, click())],
    ids=["silence", "a held tone", "an offset", "two hits"],
)
def test_where_nothing_repeats_there_is_no_tempo(signal: Signal) -> None:
    found = tempo(signal)
    assert (found.bpm, found.confidence, found.candidates) == (None, 0.0, [])


def test_four_beats_are_the_least_that_make_a_tempo() -> None:
    few = tempo(hits([0.5, 1.0, 1.5, 2.0], 3, click()))
    assert few.bpm == pytest.approx(120, rel=0.01)
    assert few.confidence < 0.6
    assert tempo(hits([0.5, 1.0, 1.5], 3, click())).bpm is None


def test_long_curves_are_correlated_block_by_block_to_the_same_effect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    curve = np.random.default_rng(0).random(10_000)
    whole = tracking.autocorrelation(curve)
    monkeypatch.setattr(tracking, "_FRAMES_PER_BLOCK", 1024)
    assert tracking.autocorrelation(curve) == pytest.approx(whole, abs=1e-12)
