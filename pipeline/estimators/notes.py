"""Notes: what each stem plays or sings, and the hits of the drums."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.annotations import Annotation, Key, Note, Notes, PitchCurve, StemNotes
from pipeline.chord_names import PITCH_CLASSES
from pipeline.estimators.base import ANALYSIS_RATE, AUDIBLE_DB, Recording, energy
from pipeline.estimators.drum_hits import MIDI, find_hits
from pipeline.estimators.note_events import Event, find_notes, single_voice, without_overtones
from pipeline.estimators.plain_notes import METHOD, VERSION, plain_notes
from pipeline.estimators.transcription import LOWEST_MIDI, NETWORK_RATE, Heard, transcribe
from pipeline.weights import packaged

_SINGLE: Final = ("bass", "vocals")
"""Stems of which one note sounds at a time."""
_OCTAVE_UP: Final = ("bass",)
_BLEED_DB: Final = -40.0
"""A stem so far below the mix is what leaked into it."""
_QUIET_DB: Final = -40.0
"""A note so far below the loud ones of its stem is bleed or reverberation."""
_LATE_S: Final = 0.01
"""So long after a note's beginning the network is surest of it: measured on the development set."""
_LOUD, _RANGE_DB, _VELOCITY = 95.0, 40.0, 110
"""Percentile of a stem's levels that gets the velocity; it falls to 1 over the range in dB."""
_ATTACK_S: Final = 0.08
_SURE, _UNSURE = 0.8, 0.3
"""Mean probability of notes that nobody doubts, and of those that the network would itself drop."""
_VOICED: Final = 0.3
_STRAY: Final = 2 ** (1.5 / 12)
"""A pitch curve further from its note is another voice's."""
_HIT_S: Final = 0.05
_CLEAR, _ENOUGH_HITS = 0.9, 8
"""Strength of hits that nobody doubts; and how many hits it takes to be sure at all."""


class NotesEstimator:
    """Transcribes stem by stem; without stems there is nothing that it could tell apart.

    Bass and vocals are single voices. The bass is heard an octave up, and every stem in tune where the key's
    estimator knows how far it is out. On the development set, separated by htdemucs, note onsets are found
    with F .98 for the bass, .72 for all other instruments together, and hits of the drums with .85. Where the
    network is not installed, `plain_notes` takes its place.
    """

    name = "notes"
    method = "Basic Pitch's network on each stem, one voice for bass and vocals; band-wise onsets for drums"
    version = "1"
    needs: tuple[str, ...] = ("key",)
    budget = 1.0

    def estimate(self, recording: Recording, found: Mapping[str, Annotation]) -> Notes:
        """Find the notes of every stem.

        Args:
            recording: the mix and its stems.
            found: ``key`` tells the tuning, where it was estimated.

        Returns:
            Notes by stem, with none where nothing was separated.
        """
        key = found.get("key")
        cents = (key.tuning_cents or 0.0) if isinstance(key, Key) else 0.0
        stems = {}
        whole = energy(recording.mix) if recording.stems else 0.0
        network = packaged.find(packaged.NOTES) is not None
        pitched = _pitched if network else _plain
        for name, stem in recording.stems.items():
            bleed_db = AUDIBLE_DB if name == "drums" else _BLEED_DB
            if energy(stem) <= whole * 10 ** (bleed_db / 10):
                stems[name] = _summary((), 0.0, drums=name == "drums")
            elif name == "drums":
                stems[name] = _drums(recording)
            else:
                stems[name] = pitched(recording, name, cents)
        return Notes(
            method=self.method if network else METHOD,
            version=self.version if network else VERSION,
            source="+".join(recording.stems) or "mix",
            stems=stems,
        )


def _pitched(recording: Recording, name: str, cents: float) -> StemNotes:
    rate = NETWORK_RATE * 2 ** (cents / 1200) / (2 if name in _OCTAVE_UP else 1)
    heard = transcribe(recording.mono(name, round(rate)), recording.scratch)
    events = find_notes(heard, recording.scratch)
    if name in _SINGLE:
        events = single_voice(events, len(heard.notes))
    else:
        events = without_overtones(events, heard.frame_s)
    levels = np.array([_level(heard, event) for event in events])
    if len(levels):
        loud = float(np.percentile(levels, _LOUD))
        audible = levels > loud * 10 ** (_QUIET_DB / 20)
        events = [event for event, kept in zip(events, audible, strict=True) if kept]
        levels = levels[audible] / max(loud, 1e-9)
    notes = tuple(
        _note(heard, event, float(level), recording.mix.duration_s)
        for event, level in zip(events, levels, strict=True)
    )
    mean = float(np.mean([event.probability for event in events])) if events else 0.0
    pitch = _curve(heard, events) if name == "vocals" and events else None
    return _summary(notes, (mean - _UNSURE) / (_SURE - _UNSURE), drums=False, pitch=pitch)


def _plain(recording: Recording, name: str, cents: float) -> StemNotes:
    found = plain_notes(recording, name, cents)
    return _summary(found.notes, found.confidence, drums=False, pitch=found.pitch)


def _drums(recording: Recording) -> StemNotes:
    hits = find_hits(recording.mono("drums", ANALYSIS_RATE))
    end = recording.mix.duration_s
    notes = tuple(
        Note(
            round(min(hit.time_s, end), 4),
            round(min(hit.time_s + _HIT_S, end), 4),
            MIDI[hit.instrument],
            int(np.clip(round(80 * hit.strength**0.5), 1, 127)),
        )
        for hit in hits
    )
    clear = sum(hit.strength >= _CLEAR for hit in hits) / max(len(hits), _ENOUGH_HITS)
    return _summary(notes, clear, drums=True)


def _summary(
    notes: tuple[Note, ...], confidence: float, *, drums: bool, pitch: PitchCurve | None = None
) -> StemNotes:
    keys = [note.midi for note in notes]
    names = {number: name for name, number in MIDI.items()}
    counted = Counter(names[key] for key in keys) if drums else Counter[str]()
    return StemNotes(
        count=len(notes),
        lowest=None if drums or not keys else _name(min(keys)),
        highest=None if drums or not keys else _name(max(keys)),
        confidence=round(float(np.clip(confidence, 0.0, 1.0)), 3),
        drums={name: counted[name] for name in MIDI} if drums else None,
    ).with_notes(notes, pitch)


def _note(heard: Heard, event: Event, level: float, duration_s: float) -> Note:
    start = max(event.start * heard.frame_s - _LATE_S, 0.0)
    stop = min(event.stop * heard.frame_s, duration_s)
    quieter = min(20 * float(np.log10(max(level, 1e-6))), 0.4 * _RANGE_DB)
    velocity = int(np.clip(round(_VELOCITY * (1 + quieter / _RANGE_DB)), 1, 127))
    start = min(start, duration_s)
    return Note(round(start, 4), round(max(stop, start), 4), event.key + LOWEST_MIDI, velocity)


def _level(heard: Heard, event: Event) -> float:
    """Loudest RMS of the note's attack."""
    attack = max(round(_ATTACK_S / heard.frame_s), 1)
    return float(heard.level[event.start : event.start + attack].max(initial=0.0))


def _curve(heard: Heard, events: list[Event]) -> PitchCurve:
    """The frequency that is sung, where a note sounds and the strongest pitch is that note's."""
    notes: npt.NDArray[np.float32] = np.zeros(len(heard.melody), dtype=np.float32)
    for event in events:
        hz = 440.0 * 2 ** ((event.key + LOWEST_MIDI - 69) / 12)
        notes[event.start : event.stop] = hz
    voiced = (notes > 0) & (heard.melody >= 255 * _VOICED)
    off = np.maximum(heard.melody_hz, notes) / np.maximum(np.minimum(heard.melody_hz, notes), 1e-9)
    curve = np.where(voiced & (off < _STRAY), heard.melody_hz, 0.0).astype(np.float32)
    return PitchCurve(heard.frame_s, array("f", curve.tobytes()))


def _name(midi: int) -> str:
    return f"{PITCH_CLASSES[midi % 12]}{midi // 12 - 1}"
