"""Layers of Sonic Visualiser (svcore, `SparseModel::toXml` and the readers in `SVFileReader`)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pipeline.annotations import Note
from pipeline.exports.base import Material, Segment
from pipeline.exports.markup import Value, document, element

_COLOURS: Final = {"timeinstants": "Purple", "regions": "Green", "notes": "Orange"}

Point = dict[str, Value]


class SonicVisualiserExport:
    """``beats.svl``, ``chords.svl``, ``sections.svl``, and ``notes-<stem>.svl`` for each stem with notes."""

    name = "svl"
    needs = "beats, chords, sections or notes"

    def write(self, material: Material, folder: Path) -> list[Path]:
        """Write a layer for each kind of finding."""
        rate = material.mix.sample_rate
        layers: list[tuple[str, str, str | None, list[Point]]] = []
        beats: list[Point] = [
            {"frame": round(time * rate), "label": "" if number is None else number}
            for time, number in material.counted_beats()
        ]
        layers.append(("beats", "timeinstants", None, beats))
        for name, segments in (("chords", material.chords), ("sections", material.sections)):
            layers.append((name, "regions", "region", _regions(segments, rate)))
        for stem, found in material.notes.items():
            layers.append((f"notes-{stem}", "notes", "note", _notes(found.heard, rate)))
        return [_layer(material, folder, *layer) for layer in layers if layer[-1]]


def _regions(segments: Iterable[Segment], rate: int) -> list[Point]:
    """Equal labels get equal heights, so that what returns is seen to return."""
    heights: dict[str, int] = {}
    return [
        {
            "frame": round(one.start_s * rate),
            "value": heights.setdefault(one.label, len(heights)),
            "duration": round(one.end_s * rate) - round(one.start_s * rate),
            "label": one.label,
        }
        for one in segments
    ]


def _notes(heard: Iterable[Note], rate: int) -> list[Point]:
    return [
        {
            "frame": round(one.start_s * rate),
            "value": one.midi,
            "duration": max(round((one.end_s - one.start_s) * rate), 1),
            "level": round(one.velocity / 127, 3),
            "label": "",
        }
        for one in heard
    ]


def _layer(
    material: Material, folder: Path, name: str, kind: str, subtype: str | None, points: list[Point]
) -> Path:
    root = element(None, "sv")
    data = element(root, "data")
    dimensions = 1 if subtype is None else 3
    more: Point = {} if subtype is None else {"subtype": subtype, "valueQuantization": 0, "units": ""}
    if subtype == "note":
        more["units"] = "MIDI Pitch"
    element(
        data, "model", id=1, name=name, sampleRate=material.mix.sample_rate, start=0, end=material.mix.length,
        type="sparse", dimensions=dimensions, resolution=1, notifyOnAdd="true", dataset=0, **more,
    )  # fmt: skip
    dataset = element(data, "dataset", id=0, dimensions=dimensions)
    for point in points:
        element(dataset, "point", **point)
    shown = element(root, "display")
    element(shown, "layer", id=2, type=kind, name=name, model=1, colourName=_COLOURS[kind])
    path = folder / f"{name}.svl"
    path.write_bytes(document(root, "sonic-visualiser"))
    return path
