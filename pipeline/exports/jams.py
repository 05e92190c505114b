"""JAMS: one JSON document of annotations (Humphrey et al. 2014; https://jams.readthedocs.io, version 0.3)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from pipeline.annotations import Annotation
from pipeline.exports.base import Material, Segment

VERSION: Final = "0.3.4"
"""Of the schema."""

Observation = dict[str, Any]


class JamsExport:
    """``song.jams``: tempo, beats, key, chords, sections, notes and words, each in its namespace."""

    name = "jams"
    needs = "tempo, beats, key, chords, sections, notes or lyrics"

    def write(self, material: Material, folder: Path) -> list[Path]:
        """Write the document."""
        annotations = list(_annotations(material))
        if not annotations:
            return []
        about = {
            "title": material.title,
            "artist": "",
            "release": "",
            "duration": material.duration_s,
            "identifiers": {},
            "jams_version": VERSION,
        }
        path = folder / "song.jams"
        with path.open("w", encoding="utf-8") as file:
            document = {"annotations": annotations, "file_metadata": about, "sandbox": {}}
            json.dump(document, file, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return [path]


def _annotations(material: Material) -> Iterator[dict[str, Any]]:
    found, whole = material.analysis, material.duration_s
    if material.tempo_bpm is not None:
        sure = getattr(found.tempo, "confidence", None)
        yield _annotation("tempo", [_observed(0.0, whole, material.tempo_bpm, sure)], found.tempo, whole)
    if material.beats_s:
        yield _annotation("beat", _beats(material), found.beats, whole)
    if material.key is not None:
        value = f"{material.key.tonic}:{material.key.mode}"
        said = [_observed(0.0, whole, value, material.key.confidence)]
        yield _annotation("key_mode", said, found.key, whole)
    for namespace, name, segments in (
        ("chord", "chords", material.chords),
        ("segment_open", "sections", material.sections),
    ):
        if segments:
            yield _annotation(namespace, map(_segment, segments), getattr(found, name), whole)
    for stem, notes in material.notes.items():
        heard = (_observed(n.start_s, n.end_s - n.start_s, n.midi, None) for n in notes.heard)
        yield _annotation("note_midi", heard, found.notes, whole, {"stem": stem})
    if material.lyrics:
        yield _annotation("lyrics", _words(material), found.lyrics, whole)


def _words(material: Material) -> Iterator[Observation]:
    for line in material.lyrics:
        for word in line.words:
            yield _observed(word.start_s, word.end_s - word.start_s, word.text, word.confidence)


def _annotation(
    namespace: str,
    data: Iterable[Observation],
    found: object,
    duration_s: float,
    sandbox: dict[str, str] | None = None,
) -> dict[str, Any]:
    by = found if isinstance(found, Annotation) else None
    return {
        "namespace": namespace,
        "data": list(data),
        "annotation_metadata": {
            "curator": {"name": "", "email": ""},
            "annotator": {},
            "version": by.version if by else "",
            "corpus": "",
            "annotation_tools": f"Audio Pipeline: {by.method}" if by else "Audio Pipeline",
            "annotation_rules": "",
            "validation": "",
            "data_source": "program",
        },
        "sandbox": sandbox or {},
        "time": 0.0,
        "duration": duration_s,
    }


def _observed(time: float, duration: float, value: object, confidence: float | None) -> Observation:
    return {"time": time, "duration": duration, "value": value, "confidence": confidence}


def _segment(one: Segment) -> Observation:
    return _observed(one.start_s, one.end_s - one.start_s, one.label, None)


def _beats(material: Material) -> Iterator[Observation]:
    """Beats with their place in the bar; null before the first known bar."""
    for time, number in material.counted_beats():
        yield _observed(time, 0.0, number, None)
