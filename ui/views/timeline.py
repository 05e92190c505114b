"""What of an analysis has its place in time: the lanes below the waveforms, and the beats."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from pipeline.annotations import Annotation, Beats, Key
from pipeline.manifest import Manifest
from ui import labels, texts
from ui.components.player.player import Lane, LaneItem


def beats(manifest: Manifest | None) -> tuple[list[float], list[float]]:
    """The beats, and those of them that start a bar: seconds."""
    found = manifest.analysis.beats if manifest else None
    if not isinstance(found, Beats):
        return [], []
    return list(found.times_s), list(found.downbeats_s)


def lanes(manifest: Manifest | None) -> list[Lane]:
    """A lane for the key, and one for everything else that names stretches of the recording."""
    if manifest is None:
        return []
    whole = _key(manifest.analysis.key, manifest.input.duration_s)
    found: list[Lane] = [{"name": texts.KEY, "items": whole}] if whole else []
    return [*found, *segmented(manifest.analysis)]


def _key(found: object, duration_s: float) -> list[LaneItem]:
    if not isinstance(found, Key) or found.tonic is None or found.mode is None:
        return []
    if not found.segments:
        return [{"start_s": 0.0, "end_s": duration_s, "label": f"{found.tonic} {texts.MODES[found.mode]}"}]
    return [
        {"start_s": one.start_s, "end_s": one.end_s, "label": f"{one.tonic} {texts.MODES[one.mode]}"}
        for one in found.segments
    ]


def segmented(analysis: BaseModel) -> Iterator[Lane]:
    """Annotations with ``segments`` that have a start, an end and a label: chords, sections and the like.

    Which there are is the manifest's matter: a new estimator needs no change here, only a word in the texts.
    """
    for name in type(analysis).model_fields:
        annotation = getattr(analysis, name)
        segments = getattr(annotation, "segments", None)
        if not isinstance(annotation, Annotation) or not isinstance(segments, list):
            continue
        items: list[LaneItem] = [
            {"start_s": one.start_s, "end_s": one.end_s, "label": _label(one)}
            for one in segments
            if hasattr(one, "label") and hasattr(one, "start_s") and hasattr(one, "end_s")
        ]
        if items:
            yield {
                "name": labels.ESTIMATOR_NAMES.get(name, name.replace("_", " ").capitalize()),
                "items": items,
            }


def _label(segment: object) -> str:
    """What a stretch is called; a section that has a name, by its name and its letter."""
    label, name = str(getattr(segment, "label", "")), getattr(segment, "name", None)
    return f"{labels.SECTION_NAMES[name]} {label}" if name in labels.SECTION_NAMES else label
