"""A project of REAPER: stems on tracks, a tempo map, sections as regions, chords as markers.

REAPER documents its format by what it writes; unknown lines are ignored and missing ones have defaults.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pipeline.exports.base import Material
from pipeline.exports.grid import Grid
from pipeline.manifest import Artifact

_SOURCES: Final = {"flac": "FLAC", "mp3": "MP3", "ogg": "VORBIS", "opus": "OPUS", "m4a": "VIDEO"}
"""REAPER's readers by format; WAV in all its kinds is WAVE."""
_SQUARE: Final = 1
"""Shape of a tempo point that holds until the next."""


class ReaperExport:
    """``project.rpp``; it finds the stems in the folder beside its own."""

    name = "reaper"
    needs = "stems"

    def write(self, material: Material, folder: Path) -> list[Path]:
        """Write the project."""
        if not material.files:
            return []
        path = folder / "project.rpp"
        path.write_text("\n".join(_project(material)) + "\n", encoding="utf-8")
        return [path]


def _project(material: Material) -> Iterator[str]:
    grid = Grid(material.beats_s, material.downbeats_s, material.bar_beats, material.tempo_bpm)
    yield '<REAPER_PROJECT 0.1 "7.0" 0'
    yield f"  SAMPLERATE {material.mix.sample_rate} 0 0"
    yield f"  TEMPO {grid.tempi[0][2]:.10g} {grid.bars[0].beats} 4"
    yield "  <TEMPOENVEX"
    yield "    ACT 1 -1"
    yield f"    DEFSHAPE {_SQUARE} -1 -1"
    yield from _tempo_points(grid)
    yield "  >"
    for number, one in enumerate(material.sections, 1):
        yield f"  MARKER {number} {one.start_s:.6f} {_quoted(one.label)} 1"
        yield f'  MARKER {number} {one.end_s:.6f} "" 1'
    for number, one in enumerate(material.chords, 1):
        yield f"  MARKER {number} {one.start_s:.6f} {_quoted(one.label)} 0"
    for artifact in material.files:
        yield from _track(artifact, material.duration_s)
    yield ">"


def _tempo_points(grid: Grid) -> Iterator[str]:
    """A point for each change of tempo or of bars; the latter is numerator and denominator in one number."""
    bars = {grid.time_at(bar.beat): bar.beats for bar in grid.bars}
    tempi = {time: bpm for time, _, bpm in grid.tempi}
    now = grid.tempi[0][2]
    for time in sorted(bars | tempi):
        now = tempi.get(time, now)
        signature = f" {4 << 16 | bars[time]}" if time in bars else ""
        yield f"    PT {time:.9f} {now:.10g} {_SQUARE}{signature}"


def _track(artifact: Artifact, duration_s: float) -> Iterator[str]:
    name = _quoted(artifact.name)
    yield "  <TRACK"
    yield f"    NAME {name}"
    yield "    <ITEM"
    yield "      POSITION 0"
    yield f"      LENGTH {duration_s:.9f}"
    yield "      LOOP 0"
    yield f"      NAME {name}"
    yield f"      <SOURCE {_SOURCES.get(artifact.format, 'WAVE')}"
    yield f"        FILE {_quoted(f'../{artifact.path}')}"
    yield "      >"
    yield "    >"
    yield "  >"


def _quoted(text: str) -> str:
    """A string: between the first of three kinds of quotes that it does not hold."""
    text = " ".join(text.split())
    for quote in "\"'`":
        if quote not in text:
            return f"{quote}{text}{quote}"
    return "`" + text.replace("`", "'") + "`"
