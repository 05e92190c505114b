from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.annotations import Key, Note, StemNotes
from pipeline.estimators.note_events import Event, find_notes, single_voice
from pipeline.estimators.notes import NotesEstimator
from pipeline.estimators.transcription import Heard
from tests.unit.estimators.signals import RATE, Signal, chord, drum_kit, noise, recording, steady


def line(midi: Sequence[int], each_s: float = 0.5, first_s: float = 0.5, a4_hz: float = 440.0) -> Signal:
    """Tones one after another."""
    tones = [chord([note - 60], each_s, a4_hz) for note in midi]
    return np.concatenate([np.zeros(round(first_s * RATE)), *tones, np.zeros(RATE // 2)])


def heard_in(name: str, signal: Signal, mix: Signal | None = None, key: Key | None = None) -> StemNotes:
    whole = signal if mix is None else mix
    found = {} if key is None else {"key": key}
    return NotesEstimator().estimate(recording(whole, {name: signal}), found).stems[name]


def matched(notes: Sequence[Note], midi: Sequence[int], times_s: Sequence[float]) -> int:
    """How many of the true notes are among those found, within 50 ms."""
    return sum(
        any(note.midi == number and abs(note.start_s - time) < 0.05 for note in notes)
        for number, time in zip(midi, times_s, strict=True)
    )


def test_a_bass_line_is_found_note_by_note() -> None:
    midi = [33, 36, 40, 43, 45, 43, 40, 31]
    found = heard_in("bass", line(midi))
    assert matched(found.heard, midi, np.arange(8) * 0.5 + 0.5) == len(midi)
    assert found.count == len(found.heard) == len(midi)
    assert (found.lowest, found.highest) == ("G1", "A2")
    assert found.confidence > 0.5


def test_repeated_notes_are_struck_again() -> None:
    found = heard_in("bass", line([40] * 8, 0.3))
    assert matched(found.heard, [40] * 8, np.arange(8) * 0.3 + 0.5) == 8


def test_a_melody_has_a_pitch_curve_that_follows_it() -> None:
    midi = [60, 64, 67, 72]
    found = heard_in("vocals", line(midi))
    assert matched(found.heard, midi, np.arange(4) * 0.5 + 0.5) == 4
    assert found.pitch is not None
    for number, time in zip(midi, np.arange(4) * 0.5 + 0.7, strict=True):
        hz = found.pitch.hz[round(time / found.pitch.step_s)]
        assert abs(1200 * np.log2(hz / (440 * 2 ** ((number - 69) / 12)))) < 20
    assert found.pitch.hz[10] == 0


def test_a_single_voice_never_sings_two_notes_at_once() -> None:
    found = heard_in("vocals", line([60, 62, 64, 65]) + line([67, 69, 71, 72], first_s=0.6)[: 3 * RATE])
    for before, after in zip(found.heard, found.heard[1:], strict=False):
        assert before.end_s <= after.start_s + 0.02


def test_chords_are_found_with_all_their_notes() -> None:
    played = np.concatenate([chord([0, 4, 7], 1.0), chord([5, 9, 12], 1.0), chord([-5, -1, 2], 1.0)])
    found = heard_in("other", played)
    midi = [60, 64, 67, 65, 69, 72, 55, 59, 62]
    assert matched(found.heard, midi, np.repeat([0.0, 1.0, 2.0], 3)) >= 8
    assert found.count <= 11


def test_a_recording_out_of_tune_is_heard_in_tune() -> None:
    tuned = Key(
        method="", version="", source="", tonic="C", mode="major", confidence=1.0, candidates=[],
        tuning_cents=-45.0,
    )  # fmt: skip
    midi = [60, 62, 64, 65, 67]
    found = heard_in("other", line(midi, a4_hz=440 * 2 ** (-45 / 1200)), key=tuned)
    assert matched(found.heard, midi, np.arange(5) * 0.5 + 0.5) == 5


def test_drums_become_hits_of_general_midi() -> None:
    beats = steady(120, 12)
    found = heard_in("drums", drum_kit(beats, 12))
    assert found.drums is not None
    kicks = [note.start_s for note in found.heard if note.midi == 36]
    snares = [note.start_s for note in found.heard if note.midi == 38]
    assert kicks == pytest.approx(beats[::2].tolist(), abs=0.03)
    assert snares == pytest.approx(beats[1::2].tolist(), abs=0.03)
    assert found.drums["hat"] >= 0.8 * (len(beats) // 2)
    assert sum(found.drums.values()) == found.count
    assert found.lowest is None


def test_bleed_has_no_notes() -> None:
    loud = line([60, 64, 67, 72])
    assert heard_in("vocals", 0.005 * loud, mix=loud).count == 0
    assert heard_in("drums", 0.005 * drum_kit(steady(120, 3), 3), mix=noise(3)).count == 0


def test_louder_notes_have_more_velocity() -> None:
    loud, soft = line([60, 60, 60]), 0.2 * line([60, 60, 60])
    found = heard_in("other", np.concatenate([loud, soft]))
    first = [note.velocity for note in found.heard if note.start_s < 2.2]
    then = [note.velocity for note in found.heard if note.start_s > 2.2]
    assert min(first) > max(then) + 10


def test_noise_and_silence_have_hardly_any_notes() -> None:
    assert heard_in("other", np.zeros(3 * RATE)).count == 0
    found = heard_in("other", noise(5))
    assert found.count <= 2
    assert NotesEstimator().estimate(recording(noise(1)), {}).stems == {}


def test_the_manifest_leaves_the_notes_out() -> None:
    found = NotesEstimator().estimate(recording(line([40, 43]), {"bass": line([40, 43])}), {})
    assert found.model_dump()["stems"]["bass"].keys() == {"count", "lowest", "highest", "confidence", "drums"}


def test_windows_of_the_network_join_without_a_seam() -> None:
    midi = [48, 50, 52, 53, 55, 57, 59, 60] * 4
    found = heard_in("other", line(midi, 0.4))
    assert matched(found.heard, midi, np.arange(len(midi)) * 0.4 + 0.5) >= len(midi) - 1
    lengths = [note.end_s - note.start_s for note in found.heard]
    assert found.count <= len(midi) + 2
    assert np.median(lengths) == pytest.approx(0.4, abs=0.08)


def test_a_note_lasts_until_it_is_not_heard_for_a_while(tmp_path: Path) -> None:
    notes = np.zeros((400, 88), dtype=np.uint8)
    onsets = np.zeros_like(notes)
    notes[50:350, 40] = 100
    notes[100:105, 40] = 60  # Shorter than the gap that ends a note.
    onsets[50, 40] = 250
    zeros = np.zeros(400, dtype=np.float32)
    heard = Heard(notes, onsets, zeros, zeros.astype(np.uint8), zeros, 0.0116)
    assert [(e.start, e.stop, e.key) for e in find_notes(heard, tmp_path)] == [(50, 350, 40)]


def test_of_two_notes_at_once_a_single_voice_keeps_the_surer() -> None:
    events = [Event(0, 100, 40, 0.9), Event(10, 90, 52, 0.5), Event(95, 200, 42, 0.8)]
    assert single_voice(events, 300) == [Event(0, 95, 40, 0.9), Event(95, 200, 42, 0.8)]
