"""CSV (RFC 4180): one table for each kind of finding, times in seconds."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from pipeline.exports.base import Material

Row = tuple[object, ...]

_PERCUSSION: Final = {36: "kick", 38: "snare", 42: "hat", 45: "tom", 49: "cymbal"}


class CsvExport:
    """``beats.csv``, ``chords.csv``, ``sections.csv``, ``notes.csv`` … : those that there are."""

    name = "csv"
    needs = "beats, chords, sections, notes or lyrics"

    def write(self, material: Material, folder: Path) -> list[Path]:
        """Write the tables."""
        tables: list[tuple[str, Row, Iterable[Row]]] = []
        if material.beats_s:
            tables.append(("beats", ("time_s", "beat"), _beats(material)))
        for name, segments in (("chords", material.chords), ("sections", material.sections)):
            if segments:
                rows = ((_s(one.start_s), _s(one.end_s), one.label) for one in segments)
                tables.append((name, ("start_s", "end_s", "label"), rows))
        if material.notes:
            columns = ("stem", "start_s", "end_s", "midi", "velocity", "drum")
            tables.append(("notes", columns, _notes(material)))
        if any(found.pitch for found in material.notes.values()):
            tables.append(("pitch", ("stem", "time_s", "hz"), _pitch(material)))
        if material.lyrics:
            tables.append(("lyrics", ("line", "start_s", "end_s", "word"), _lyrics(material)))
        return [_table(folder / f"{name}.csv", head, rows) for name, head, rows in tables]


def _beats(material: Material) -> Iterator[Row]:
    for time, number in material.counted_beats():
        yield _s(time), "" if number is None else number


def _notes(material: Material) -> Iterator[Row]:
    for stem, found in material.notes.items():
        for note in found.heard:
            drum = "" if found.drums is None else _PERCUSSION.get(note.midi, "")
            yield stem, _s(note.start_s), _s(note.end_s), note.midi, note.velocity, drum


def _pitch(material: Material) -> Iterator[Row]:
    for stem, found in material.notes.items():
        for step, hz in enumerate(found.pitch.hz if found.pitch else ()):
            if hz > 0 and found.pitch:
                yield stem, _s(step * found.pitch.step_s), f"{hz:.2f}"


def _lyrics(material: Material) -> Iterator[Row]:
    for number, line in enumerate(material.lyrics, 1):
        for word in line.words:
            yield number, _s(word.start_s), _s(word.end_s), word.text


def _s(time: float) -> str:
    return f"{time:.4f}"


def _table(path: Path, head: Row, rows: Iterable[Row]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)
    return path
