"""Notes where the network is not installed: the next best way runs, and says that it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from pipeline.annotations import Note, Notes
from pipeline.estimators import transcription
from pipeline.estimators.notes import NotesEstimator
from pipeline.estimators.plain_notes import plain_notes
from pipeline.weights import packaged
from tests.unit.estimators.signals import (
    RATE,
    Signal,
    chord,
    drum_kit,
    noise,
    recording,
    steady,
    syllables,
    tone,
)

BASS = [33, 36, 40, 43, 45, 43, 40, 31, 31, 31]
MELODY = [60, 64, 67, 72, 72, 71, 67, 64]
CHORDS = [60, 64, 67, 65, 69, 72, 55, 59, 62]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "NOTES", replace(packaged.NOTES, package="no-such-package"))
    transcription._network.cache_clear()


def line(midi: Sequence[int], each_s: float = 0.4, a4_hz: float = 440.0) -> Signal:
    tones = [chord([number - 60], each_s, a4_hz) for number in midi]
    return np.concatenate([np.zeros(RATE // 2), *tones, np.zeros(RATE // 2)])


def found_in(**stems: Signal) -> Notes:
    return NotesEstimator().estimate(recording(np.sum(list(stems.values()), axis=0), stems), {})


def f_measure(heard: Sequence[Note], midi: Sequence[int], times_s: Sequence[float]) -> float:
    """Of onsets within 50 ms at the right pitch."""
    truth = set(zip(times_s, midi, strict=True))
    right = 0
    for note in heard:
        near = [(t, m) for t, m in truth if m == note.midi and abs(t - note.start_s) < 0.05]
        right += bool(near)
        truth -= set(near[:1])
    return 2 * right / (len(heard) + len(midi))


def test_the_notes_of_every_stem_are_found_and_the_manifest_says_how() -> None:
    bass, melody = line(BASS), line(MELODY)
    size = max(len(bass), len(melody))
    played = np.concatenate([chord([n - 60 for n in CHORDS[i : i + 3]], 1.0) for i in (0, 3, 6)])
    stems = {"bass": bass, "vocals": melody, "other": played, "drums": drum_kit(steady(120, 5), 5)}
    found = found_in(**{name: np.resize(np.pad(one, (0, size)), size) for name, one in stems.items()})
    assert found.method != NotesEstimator.method
    assert (found.version, "autocorrelation" in found.method) == ("plain-1", True)
    at = 0.5 + 0.4 * np.arange(10)
    assert f_measure(found.stems["bass"].heard, BASS, at.tolist()) > 0.9
    assert f_measure(found.stems["vocals"].heard, MELODY, at[:8].tolist()) > 0.8
    assert f_measure(found.stems["other"].heard, CHORDS, np.repeat([0.0, 1.0, 2.0], 3).tolist()) > 0.8
    assert found.stems["drums"].count > 0
    for name in ("bass", "vocals", "other"):
        assert 0.1 < found.stems[name].confidence <= 0.6
    assert (found.stems["bass"].lowest, found.stems["bass"].highest) == ("G1", "A2")


def test_the_pitch_curve_follows_a_melody_that_is_out_of_tune() -> None:
    melody = line([57, 60, 64], a4_hz=432.0)
    found = plain_notes(recording(melody, {"vocals": melody}), "vocals", -31.8)
    assert [note.midi for note in found.notes] == [57, 60, 64]
    assert found.pitch is not None
    for midi, time_s in zip((57, 60, 64), (0.7, 1.1, 1.5), strict=True):
        hz = found.pitch.hz[round(time_s / found.pitch.step_s)]
        assert abs(1200 * np.log2(hz / (432 * 2 ** ((midi - 69) / 12)))) < 10
    assert found.pitch.hz[5] == 0


@pytest.mark.parametrize("name", ["bass", "vocals", "other"])
def test_what_has_no_pitch_has_no_notes(name: str) -> None:
    for signal in (np.zeros(RATE), noise(5), np.full(RATE, 0.5), drum_kit(steady(120, 6), 6), noise(0.01)):
        found = plain_notes(recording(signal, {name: signal}), name, 0.0)
        assert (found.notes, found.confidence) == ((), 0.0)


def test_speech_is_not_taken_for_a_band() -> None:
    said = syllables(10)
    assert plain_notes(recording(said, {"other": said}), "other", 0.0).confidence < 0.1


@pytest.mark.parametrize("name", ["bass", "vocals"])
def test_one_very_long_note_is_one_note(name: str) -> None:
    held = tone(220.0, 20)
    (note,) = plain_notes(recording(held, {name: held}), name, 0.0).notes
    assert (note.midi, note.start_s) == (57, 0.0)
    assert note.end_s == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize("samples", [0, 1, 100, 220, 1024])
@pytest.mark.parametrize("name", ["bass", "vocals", "other"])
def test_a_few_samples_are_enough_for_an_answer(name: str, samples: int) -> None:
    short = noise(0.1)[:samples]
    assert plain_notes(recording(short, {name: short}), name, 0.0).notes == ()
