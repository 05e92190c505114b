"""A chord sheet: bars with the chords over them, drawn as SVG."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

from pipeline.chord_names import chord_name
from pipeline.exports.base import Material, Segment
from pipeline.exports.grid import Grid
from pipeline.exports.markup import document, element, text_element

_BARS_A_LINE: Final = 4
_WIDTH, _MARGIN, _TOP, _LINE, _BAR_HEIGHT = 800, 40, 90, 78, 34


@dataclass(frozen=True, slots=True)
class _Bar:
    start_s: float
    end_s: float


class ChordSheetExport:
    """``chords.svg``: four bars a line, sections above them; a bar without a new chord goes on as before."""

    name = "chord-sheet"
    needs = "chords"

    def write(self, material: Material, folder: Path) -> list[Path]:
        """Write the sheet."""
        if not material.chords:
            return []
        path = folder / "chords.svg"
        path.write_bytes(document(_sheet(material)))
        return [path]


def _engraved(name: str) -> str:
    """A name with the signs of printed music: after a note, and before a degree."""
    flat = re.sub(r"(?<=[A-G])b|b(?=\d)", "\N{MUSIC FLAT SIGN}", name)
    return flat.replace("#", "\N{MUSIC SHARP SIGN}")


def _sheet(material: Material) -> Element:
    bars = list(_bars(material))
    lines = -(-len(bars) // _BARS_A_LINE)
    height = _TOP + lines * _LINE + _MARGIN
    root = element(None, "svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {_WIDTH} {height}")
    root.set("font-family", "sans-serif")
    text_element(root, "title", material.title)
    element(root, "rect", width=_WIDTH, height=height, fill="#fff")
    _text(root, _MARGIN, 44, material.title, 22)
    _text(root, _MARGIN, 66, _heading(material), 13)
    wide = (_WIDTH - 2 * _MARGIN) / _BARS_A_LINE
    for number, bar in enumerate(bars):
        x = _MARGIN + number % _BARS_A_LINE * wide
        y = _TOP + number // _BARS_A_LINE * _LINE + 26
        shape = {"fill": "none", "stroke": "#444"}
        element(root, "rect", x=x, y=float(y), width=wide, height=_BAR_HEIGHT, **shape)
        for one in _beginning(material.sections, bar):
            _text(root, x + 2, y - 8, one.label, 12)
        for one in _sounding(material.chords, bar, first=number == 0):
            part = max(one.start_s - bar.start_s, 0.0) / (bar.end_s - bar.start_s)
            _text(root, x + 6 + part * (wide - 6), y + 23, _engraved(chord_name(one.label)), 18)
    return root


def _heading(material: Material) -> str:
    key = f"{material.key.tonic} {material.key.mode}" if material.key else ""
    tempo = f"{material.tempo_bpm:.0f} BPM" if material.tempo_bpm else ""
    return ", ".join(filter(None, (key, tempo)))


def _bars(material: Material) -> Iterator[_Bar]:
    """Bars of the grid, from the one in which the first chord is to that in which the last ends."""
    grid = Grid(material.beats_s, material.downbeats_s, material.bar_beats, material.tempo_bpm)
    last = grid.beat_at(material.chords[-1].end_s)
    beat, changes = 0, list(grid.bars)
    beats = changes.pop(0).beats
    while beat < last - 0.5:
        if changes and changes[0].beat <= beat:
            beats = changes.pop(0).beats
        yield _Bar(grid.time_at(beat), grid.time_at(beat + beats))
        beat += beats


def _beginning(segments: list[Segment], bar: _Bar) -> Iterator[Segment]:
    slack = (bar.end_s - bar.start_s) / 16  # A chord that comes a little early belongs to the bar after it.
    for one in segments:
        if bar.start_s - slack <= one.start_s < bar.end_s - slack:
            yield one


def _sounding(chords: list[Segment], bar: _Bar, *, first: bool) -> Iterator[Segment]:
    began = list(_beginning(chords, bar))
    if first and not began:
        began = chords[:1]
    yield from began


def _text(root: Element, x: float, y: float, text: str, size: int) -> None:
    made = text_element(root, "text", text, x=float(x), y=float(y), fill="#111")
    made.set("font-size", str(size))
