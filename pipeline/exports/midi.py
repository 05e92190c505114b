"""MIDI: the notes of every stem on a grid of bars that follows the beats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from pipeline.annotations import StemNotes
from pipeline.exports.base import Material
from pipeline.exports.grid import Grid

TICKS: Final = 480
"""A beat: divides into triplets and 64ths, and is what most sequencers use."""
DRUM_CHANNEL: Final = 9
"""Channel 10 of General MIDI, counted from 0."""
_PROGRAMS: Final = {"bass": 33, "vocals": 53, "guitar": 25, "piano": 0, "other": 0}
"""General MIDI: electric bass (finger), voice oohs, steel guitar, grand piano."""
_MOST_TEMPO: Final = (1 << 24) - 1
"""Microseconds a beat: what the three bytes of a tempo hold."""

_Timed = Any
"""A message of mido, which has no types. Its time is in ticks from the start of the file until `_track` makes
it a distance, as files have it."""


class MidiExport:
    """One file: tempo, time signatures and sections on the first track, then a track for each stem."""

    name = "midi"
    needs = "beats or notes"

    def write(self, material: Material, folder: Path) -> list[Path]:
        """Write ``notes.mid``."""
        if not material.beats_s and not material.notes:
            return []
        from mido import MidiFile

        grid = Grid(material.beats_s, material.downbeats_s, material.bar_beats, material.tempo_bpm)
        tracks = [_track(_conductor(material, grid))]
        channels = [channel for channel in range(16) if channel != DRUM_CHANNEL]
        for stem, found in material.notes.items():
            channel = DRUM_CHANNEL if found.drums is not None else channels.pop(0)
            tracks.append(_track(_notes(stem, found, grid, channel)))
        path = folder / "notes.mid"
        MidiFile(type=1, ticks_per_beat=TICKS, charset="utf-8", tracks=tracks).save(path)
        return [path]


def _conductor(material: Material, grid: Grid) -> Iterator[_Timed]:
    from mido import MetaMessage

    yield MetaMessage("track_name", name=material.title)
    for _, beat, bpm in grid.tempi:
        # Exact to a microsecond a beat.
        yield MetaMessage(
            "set_tempo", tempo=min(max(round(60e6 / bpm), 1), _MOST_TEMPO), time=round(beat * TICKS)
        )
    for bar in grid.bars:
        yield MetaMessage("time_signature", numerator=min(bar.beats, 255), time=bar.beat * TICKS)
    for one in material.sections:
        yield MetaMessage("marker", text=one.label, time=_tick(grid, one.start_s))


def _notes(stem: str, found: StemNotes, grid: Grid, channel: int) -> Iterator[_Timed]:
    from mido import Message, MetaMessage

    yield MetaMessage("track_name", name=stem)
    if channel != DRUM_CHANNEL:
        yield Message("program_change", channel=channel, program=_PROGRAMS.get(stem, 0))
    ends: dict[int, int] = {}
    for one in found.heard:
        # A key that is struck again while it sounds would be let go by the first note's end.
        start = max(_tick(grid, one.start_s), ends.get(one.midi, 0))
        stop = max(_tick(grid, one.end_s), start + 1)
        ends[one.midi] = stop
        yield Message("note_on", channel=channel, note=one.midi, velocity=one.velocity, time=start)
        yield Message("note_off", channel=channel, note=one.midi, velocity=0, time=stop)


def _track(messages: Iterable[_Timed]) -> Any:
    from mido import MidiTrack

    # What ends at a tick ends before anything begins at it.
    ordered = sorted(messages, key=lambda message: (message.time, message.type == "note_on"))
    times = [0, *(message.time for message in ordered)]
    return MidiTrack(
        message.copy(time=after - before)
        for message, (before, after) in zip(ordered, pairwise(times), strict=True)
    )


def _tick(grid: Grid, time_s: float) -> int:
    return max(round(grid.beat_at(time_s) * TICKS), 0)
