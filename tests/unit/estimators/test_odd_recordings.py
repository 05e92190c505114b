"""What is no song, or hardly one: the answers are sensible, and none is sure of what is not there."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import mir_eval
import numpy as np
import pytest
import soundfile

from pipeline.annotations import Analysis, Annotation, Beats, Chords, Key, Sections, Tempo
from pipeline.audio import Audio, FloatArray
from pipeline.estimators.base import Recording
from pipeline.estimators.key import KeyEstimator
from pipeline.estimators.registry import select
from pipeline.estimators.tempo import TempoEstimator
from tests.unit.estimators.signals import (
    RATE,
    Signal,
    cadence,
    changing,
    chord,
    click,
    drum_kit,
    hits,
    noise,
    recording,
    seen,
    steady,
)

SAID = (
    "The committee met on Tuesday to consider the report. Nobody had read it, and the chairman said so at "
    "some length. There was a pause while the windows were opened. Then a woman asked whether the figures "
    "for the previous year had been checked, and by whom; the secretary answered that they had not."
)


def everything(heard: Recording) -> Analysis:
    """What all estimators but the optional ones find; none may fail."""
    found: dict[str, Annotation] = {}
    for estimator in select(None):
        found[estimator.name] = estimator.estimate(heard, found)
    return Analysis.model_validate(found)


def sureness(found: Analysis) -> dict[str, float]:
    """The confidence of every answer that has one."""
    out = {}
    for name in ("tempo", "beats", "key", "chords", "sections"):
        answer = getattr(found, name)
        assert isinstance(answer, Tempo | Beats | Key | Chords | Sections)
        out[name] = answer.confidence
    assert isinstance(found.key, Key) and isinstance(found.beats, Beats)
    out["meter"] = found.beats.meter_confidence
    out["stretches of keys"] = max((one.confidence for one in found.key.segments or []), default=0.0)
    return out


def unsure(found: Analysis, least: float = 0.2, **more: float) -> None:
    """Nothing is surer than ``least``, but for what is named."""
    for name, confidence in sureness(found).items():
        assert confidence <= more.get(name, least), (name, sureness(found))


@pytest.mark.long
@pytest.mark.parametrize(("voice", "speed"), [("en-us", 140), ("en-us+f3", 175), ("de", 120)])
def test_speech_is_no_music(voice: str, speed: int, tmp_path: Path) -> None:
    path = tmp_path / "said.wav"
    subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-w", path, SAID], check=True)
    said, rate = soundfile.read(path)
    found = everything(recording(said, {"vocals": said}, rate=rate))
    unsure(found)
    assert isinstance(found.chords, Chords)
    assert {one.label for one in found.chords.segments} == {"N"}


def rumble(seconds: float) -> Signal:
    """Noise that falls by 6 dB an octave, as wind and traffic."""
    walk = np.cumsum(noise(seconds))
    slow = np.convolve(walk, np.ones(2001) / 2001, "same")
    return np.asarray(0.3 * (walk - slow) / np.abs(walk - slow).max())


def applause(seconds: float) -> Signal:
    """Fifty hands a second."""
    at = np.random.default_rng(3).uniform(0, seconds - 0.5, round(50 * seconds))
    return 0.2 * hits(at, seconds, click())


NO_MUSIC = {
    "silence": lambda seconds: np.zeros(round(seconds * RATE)),
    "noise": noise,
    "a rumble": rumble,
    "applause": applause,
}


@pytest.mark.long
@pytest.mark.parametrize("kind", NO_MUSIC)
def test_what_is_no_music_has_no_sure_answer(kind: str) -> None:
    sounds: Callable[[float], Signal] = NO_MUSIC[kind]
    unsure(everything(recording(sounds(30.0))))


@pytest.mark.long
@pytest.mark.parametrize("bpm", [90, 128])
def test_drums_alone_have_a_beat_but_neither_key_nor_chords(bpm: float) -> None:
    kit = drum_kit(steady(bpm, 20), 20)
    for stems in ({}, {"drums": kit, "bass": 0 * kit, "other": 0 * kit, "vocals": 0 * kit}):
        found = everything(recording(kit, stems))
        assert isinstance(found.tempo, Tempo) and found.tempo.bpm == pytest.approx(bpm, rel=2e-3)
        assert sureness(found)["tempo"] > 0.5
        unsure(found, tempo=1, beats=1, meter=1)
        assert isinstance(found.chords, Chords)
        assert {one.label for one in found.chords.segments} == {"N"}


@pytest.mark.long
def test_a_real_drummer_has_no_key_and_a_real_singer_no_sure_beat(song_stems: dict[str, FloatArray]) -> None:
    drums, vocals = (Audio(song_stems[name], 44100) for name in ("drums", "vocals"))
    found = everything(seen(drums, {}))
    assert sureness(found)["key"] < 0.1 and sureness(found)["chords"] < 0.2
    for stems in ({}, {"vocals": vocals, "drums": Audio(0 * vocals.samples, 44100)}):
        assert sureness(everything(seen(vocals, stems)))["tempo"] < 0.3


@pytest.mark.long
@pytest.mark.parametrize("start_s", [0.0, 2.0])
def test_three_seconds_of_a_song_are_too_few_to_be_sure(start_s: float, song_mix: FloatArray) -> None:
    clip = song_mix[:, round(start_s * 44100) :][:, : 3 * 44100]
    unsure(everything(seen(Audio(clip, 44100), {})), 0.4, chords=1.0)


def test_three_seconds_of_a_clear_beat_and_a_clear_key_say_what_they_are_but_are_not_sure() -> None:
    tempo = TempoEstimator().estimate(recording(drum_kit(steady(120, 3, 0.1), 3)), {})
    assert tempo.bpm == pytest.approx(120, rel=0.01)
    assert 0 < tempo.confidence < 0.4
    key = KeyEstimator().estimate(recording(cadence(7, "major")[: 3 * RATE]), {})
    assert key.tonic is not None
    assert 0 < key.confidence < 0.4
    assert all(one.confidence < 0.4 for one in key.segments or [])


def test_a_band_at_432_hz_has_its_key_its_chords_and_its_tuning() -> None:
    song = cadence(2, "major", 432.0)
    found = everything(recording(song, {"bass": 0 * song, "drums": 0 * song, "other": song}))
    assert isinstance(found.key, Key) and isinstance(found.chords, Chords)
    assert (found.key.tonic, found.key.mode) == ("D", "major")
    assert found.key.tuning_cents == pytest.approx(-31.8, abs=2)
    truth = [("D:maj", 2.0), ("G:maj", 2.0), ("A:maj", 2.0), ("D:maj", 2.0)] * 2
    edges = np.cumsum([0.0, *(seconds for _, seconds in truth)])
    reference = np.stack([edges[:-1], edges[1:]], axis=1)
    estimated = np.array([(one.start_s, one.end_s) for one in found.chords.segments])
    scores = mir_eval.chord.evaluate(
        reference, [label for label, _ in truth], estimated, [one.label for one in found.chords.segments]
    )
    assert scores["majmin"] > 0.8


def test_a_band_that_speeds_up_is_followed_and_less_sure_than_a_steady_one() -> None:
    def band(beats_s: Signal) -> tuple[Tempo, Beats]:
        bars = [hits(beats_s[i::8], 40, chord(tones, 0.4)) for i, tones in ((0, (0, 4, 7)), (4, (5, 9, 12)))]
        found = everything(recording(drum_kit(beats_s, 40) + bars[0] + bars[1]))
        assert isinstance(found.tempo, Tempo) and isinstance(found.beats, Beats)
        return found.tempo, found.beats

    live = changing(lambda time: 100 + 0.5 * time + np.sin(time), 40)
    (even, _), (tempo, beats) = band(steady(110, 40)), band(live)
    assert tempo.confidence < even.confidence
    assert tempo.bpm == pytest.approx(110, rel=0.08)
    assert tempo.drift_percent == pytest.approx(20, abs=5)
    assert abs(even.drift_percent or 0) < 0.5
    assert mir_eval.beat.f_measure(live, np.array(beats.times_s)) > 0.9
