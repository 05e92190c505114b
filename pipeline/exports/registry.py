"""All exports, and the running of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pipeline.codec.encode import hash_file
from pipeline.errors import ExportUnknown, PipelineError
from pipeline.exports.audacity import AudacityExport
from pipeline.exports.base import FOLDER, Export, Material
from pipeline.exports.chord_sheet import ChordSheetExport
from pipeline.exports.click import ClickExport
from pipeline.exports.dawproject import DawProjectExport
from pipeline.exports.jams import JamsExport
from pipeline.exports.midi import MidiExport
from pipeline.exports.reaper import ReaperExport
from pipeline.exports.sonic_visualiser import SonicVisualiserExport
from pipeline.exports.stem_file import StemFileExport
from pipeline.exports.tables import CsvExport
from pipeline.manifest import Artifact, Notice
from pipeline.scratch import disk_errors, sync_folder

EXPORTS: Final[dict[str, Export]] = {
    export.name: export
    for export in (
        CsvExport(),
        JamsExport(),
        AudacityExport(),
        SonicVisualiserExport(),
        MidiExport(),
        ReaperExport(),
        DawProjectExport(),
        StemFileExport(),
        ClickExport(),
        ChordSheetExport(),
    )
}
"""Exports by name, in the order in which they run. They hold no state."""

AUDIO_TRACKS: Final = {"stem.mp4": 5, "click": 1}
"""Tracks of audio that an export encodes, each as long as the recording: what it costs."""

MEDIA_TYPES: Final = {
    "csv": "text/csv; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
    "jams": "application/json",
    "svl": "application/xml",
    "mid": "audio/midi",
    "rpp": "text/plain; charset=utf-8",
    "dawproject": "application/zip",
    "stem.mp4": "video/mp4",
    "svg": "image/svg+xml",
}
"""By the format that the manifest gives: the end of the file's name."""


def choose_exports(names: tuple[str, ...]) -> list[Export]:
    """Look exports up by name.

    Returns:
        The exports in running order, each once, whatever the order of the names.

    Raises:
        ExportUnknown: a name is not registered.
    """
    for name in names:
        if name not in EXPORTS:
            raise ExportUnknown(f"There is no export named {name!r}.", f"Choose from: {', '.join(EXPORTS)}.")
    return [export for name, export in EXPORTS.items() if name in names]


def write_exports(
    exports: Sequence[Export], material: Material, folder: Path, step: Callable[[float], None]
) -> tuple[list[Artifact], list[Notice]]:
    """Write exports into a job's folder.

    An export that cannot be made is told of and fails nothing, unless the machine is at fault.

    Args:
        exports: which.
        material: what there is to export.
        folder: the job's.
        step: told 0..1, how far it is.

    Returns:
        The artifacts; and what the user should know of those that there are none of.

    Raises:
        PipelineError: no room, no tool, or cancelled.
    """
    artifacts: list[Artifact] = []
    notices: list[Notice] = []
    target = folder / FOLDER
    with disk_errors("an export"):
        target.mkdir()
        for done, export in enumerate(exports, 1):
            material.cancel.check()
            try:
                paths = export.write(material, target)
            except (PipelineError, OSError, MemoryError):
                raise
            except Exception as exc:
                message = f"The export {export.name} failed: {type(exc).__name__}: {exc}"[:500]
                notices.append(Notice(code="export_failed", message=message))
                continue
            if not paths:
                message = f"There is nothing to export as {export.name}: it needs {export.needs}."
                notices.append(Notice(code="export_empty", message=message))
            artifacts += [_artifact(path) for path in paths]
            step(done / len(exports))
        sync_folder(target)
    return artifacts, notices


def _artifact(path: Path) -> Artifact:
    size, sha256 = hash_file(path)
    name, _, kind = path.name.partition(".")
    return Artifact(
        name=name, kind="analysis", path=f"{FOLDER}/{path.name}", format=kind, bytes=size, sha256=sha256
    )
