import numpy as np
import pytest

from pipeline.annotations import Key
from pipeline.estimators.key import MODES, TONICS, KeyEstimator
from tests.unit.estimators.signals import (
    RATE,
    Signal,
    cadence,
    drum_kit,
    noise,
    recording,
    steady,
    syllables,
    tone,
)

TUNINGS_CENTS = (0, -31.8, 17, 40, -45)


def key(signal: Signal, stems: dict[str, Signal] | None = None) -> Key:
    return KeyEstimator().estimate(recording(signal, stems), {})


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("tonic", range(12))
def test_every_key_is_found_at_any_tuning(tonic: int, mode: str) -> None:
    cents = TUNINGS_CENTS[(tonic + 7 * MODES.index(mode)) % len(TUNINGS_CENTS)]
    found = key(cadence(tonic, mode, 440 * 2 ** (cents / 1200)))
    assert (found.tonic, found.mode) == (TONICS[tonic], mode)
    assert found.confidence > 0.5
    assert found.tuning_cents == pytest.approx(cents, abs=3)


def test_candidates_are_shares_and_the_first_is_the_answer() -> None:
    found = key(cadence(2, "minor"))
    confidences = [candidate.confidence for candidate in found.candidates]
    assert confidences == sorted(confidences, reverse=True)
    assert sum(confidences) <= 1.001
    first = found.candidates[0]
    assert (first.tonic, first.mode, first.confidence) == (found.tonic, found.mode, found.confidence)


def test_drums_are_left_out_where_there_are_stems() -> None:
    music = cadence(4, "minor")
    drums = np.resize(3 * drum_kit(steady(120, 16), 16) + tone(185.0, 16), len(music))
    stems = {"drums": drums, "bass": 0 * music, "other": music}
    found = key(music + drums, stems)
    assert found.source == "bass+other"
    assert found == key(music, stems)


def test_a_part_of_the_stems_is_no_better_than_the_mix() -> None:
    music = cadence(9, "major")
    assert key(music, {"vocals": 0 * music}).source == "mix"
    assert key(music, {"vocals": 0 * music, "no_vocals": music}).source == "mix"
    assert key(music, {"drums": 0 * music, "no_drums": music}).tonic == "A"


def test_a_drum_kit_noise_and_speech_have_no_key_to_be_sure_of() -> None:
    for signal in (drum_kit(steady(120, 20), 20), noise(20), syllables(20)):
        assert key(signal).confidence < 0.1


def test_a_lone_tone_belongs_to_no_key_but_has_a_tuning() -> None:
    found = key(tone(432.0, 10))
    assert found.confidence < 0.1
    assert found.tuning_cents == pytest.approx(-31.8, abs=1)


@pytest.mark.parametrize("signal", [np.zeros(5 * RATE), np.zeros(0), np.full(5 * RATE, 0.5), noise(20)])
def test_without_pitch_there_is_no_key(signal: Signal) -> None:
    found = key(signal)
    assert (found.tonic, found.mode, found.confidence, found.tuning_cents) == (None, None, 0.0, None)
    assert found.candidates == []


def test_where_the_key_changes_is_told_and_where_it_stays_nothing_changes() -> None:
    song = np.concatenate([cadence(0, "major")] * 3 + [cadence(3, "major")] * 3)
    found = key(song).segments or []
    assert [(one.tonic, one.mode) for one in found] == [("C", "major"), ("Eb", "major")]
    assert found[0].end_s == found[1].start_s == pytest.approx(len(song) / RATE / 2, abs=6)
    assert found[-1].end_s == pytest.approx(len(song) / RATE, abs=0.01)
    assert len(key(np.tile(cadence(9, "minor"), 4)).segments or []) == 1
