"""Label tracks of Audacity: start, end and text, tab-separated (manual, "Importing and Exporting Labels")."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pipeline.exports.base import Material, Segment


class AudacityExport:
    """``beats.txt``, ``chords.txt`` and ``sections.txt``: those that there are."""

    name = "audacity"
    needs = "beats, chords or sections"

    def write(self, material: Material, folder: Path) -> list[Path]:
        """Write the label tracks."""
        starts = set(material.downbeats_s)
        beats = [Segment(t, t, "bar" if t in starts else "beat") for t in material.beats_s]
        tracks = {"beats": beats, "chords": material.chords, "sections": material.sections}
        return [_labels(folder / f"{name}.txt", found) for name, found in tracks.items() if found]


def _labels(path: Path, labels: Iterable[Segment]) -> Path:
    lines = (f"{one.start_s:.6f}\t{one.end_s:.6f}\t{' '.join(one.label.split())}\n" for one in labels)
    path.write_text("".join(lines), encoding="utf-8", newline="")
    return path
