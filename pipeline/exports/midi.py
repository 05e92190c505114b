"""MIDI: the notes of every stem on a grid of bars that follows the beats."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pipeline.annotations import StemNotes
from pipeline.exports.base import Material
from pipeline.exports.grid import Grid
from pipeline.exports.midi_file import (
    DRUM_CHANNEL,
    TICKS,
    Event,
    marker,
    midi_file,
    name,
    note,
    program,
    tempo,
    time_signature,
)

_PROGRAMS: Final = {"bass": 33, "vocals": 53, "guitar": 25, "piano": 0, "other": 0}
"""General MIDI: electric bass (finger), voice oohs, steel guitar, grand piano."""


class MidiExport:
    """One file: tempo, time signatures and sections on the first track, then a track for each stem."""

    name = "midi"
    needs = "beats or notes"

    def write(self, material: Material, folder: Path) -> list[Path]:
        """Write ``notes.mid``."""
        if not material.beats_s and not material.notes:
            return []
        grid = Grid(material.beats_s, material.downbeats_s, material.bar_beats, material.tempo_bpm)
        tracks = [self._conductor(material, grid)]
        channels = [channel for channel in range(16) if channel != DRUM_CHANNEL]
        for stem, found in material.notes.items():
            channel = DRUM_CHANNEL if found.drums is not None else channels.pop(0)
            tracks.append(_notes(stem, found, grid, channel))
        path = folder / "notes.mid"
        path.write_bytes(midi_file(tracks))
        return [path]

    def _conductor(self, material: Material, grid: Grid) -> list[Event]:
        events = [name(material.title)]
        events += [tempo(round(beat * TICKS), bpm) for _, beat, bpm in grid.tempi]
        events += [time_signature(bar.beat * TICKS, bar.beats) for bar in grid.bars]
        events += [marker(_tick(grid, one.start_s), one.label) for one in material.sections]
        return events


def _notes(stem: str, found: StemNotes, grid: Grid, channel: int) -> list[Event]:
    events = [name(stem)]
    if channel != DRUM_CHANNEL:
        events.append(program(channel, _PROGRAMS.get(stem, 0)))
    ends: dict[int, int] = {}
    for one in found.heard:
        # A key that is struck again while it sounds would be let go by the first note's end.
        start = max(_tick(grid, one.start_s), ends.get(one.midi, 0))
        stop = max(_tick(grid, one.end_s), start + 1)
        ends[one.midi] = stop
        events += note(channel, start, stop, one.midi, one.velocity)
    return events


def _tick(grid: Grid, time_s: float) -> int:
    return max(round(grid.beat_at(time_s) * TICKS), 0)
