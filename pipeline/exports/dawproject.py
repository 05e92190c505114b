"""DAWproject 1.0 (https://github.com/bitwig/dawproject, MIT): a project that several sequencers exchange."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

from pipeline.exports.base import Material
from pipeline.exports.grid import Grid
from pipeline.exports.markup import document, element, text_element
from pipeline.software import VERSION

_DATE: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip can hold: the same for the same job."""
_SLOWEST_BPM, _FASTEST_BPM = 20, 999


class DawProjectExport:
    """``project.dawproject``; it refers to the stems in the folder beside its own."""

    name = "dawproject"
    needs = "stems"

    def write(self, material: Material, folder: Path) -> list[Path]:
        """Write the project."""
        if not material.files:
            return []
        about = element(None, "MetaData")
        text_element(about, "Title", material.title)
        path = folder / "project.dawproject"
        with zipfile.ZipFile(path, "w") as archive:
            for name, root in (("metadata.xml", about), ("project.xml", _project(material))):
                archive.writestr(zipfile.ZipInfo(name, _DATE), document(root), zipfile.ZIP_DEFLATED)
        return [path]


def _project(material: Material) -> Element:
    grid = Grid(material.beats_s, material.downbeats_s, material.bar_beats, material.tempo_bpm)
    root = element(None, "Project", version="1.0")
    element(root, "Application", name="Audio Pipeline", version=VERSION)
    transport = element(root, "Transport")
    usual = material.tempo_bpm or grid.tempi[-1][2]
    limits = {"min": _SLOWEST_BPM, "max": _FASTEST_BPM}
    element(transport, "Tempo", **limits, unit="bpm", value=usual, id="tempo", name="Tempo")
    element(transport, "TimeSignature", numerator=grid.bars[0].beats, denominator=4, id="signature")
    structure = element(root, "Structure")
    for artifact in material.files:
        track = element(
            structure, "Track", contentType="audio", loaded="true",
            id=f"track-{artifact.name}", name=artifact.name,
        )  # fmt: skip
        element(
            track, "Channel", audioChannels=artifact.channels or 2, destination="master", role="regular",
            id=f"channel-{artifact.name}",
        )  # fmt: skip
    top = element(
        structure, "Track", contentType="audio notes", loaded="true", id="track-master", name="Master"
    )
    element(top, "Channel", audioChannels=2, role="master", id="master")
    arrangement = element(root, "Arrangement", id="arrangement")
    _clips(arrangement, material, grid)
    _markers(arrangement, material, grid)
    _automation(arrangement, grid)
    return root


def _clips(arrangement: Element, material: Material, grid: Grid) -> None:
    lanes = element(arrangement, "Lanes", timeUnit="beats", id="lanes")
    whole = grid.beat_at(material.duration_s)
    for artifact in material.files:
        lane = element(lanes, "Lanes", track=f"track-{artifact.name}", id=f"lanes-{artifact.name}")
        clips = element(lane, "Clips", id=f"clips-{artifact.name}")
        clip = element(
            clips, "Clip", time=0.0, duration=whole, contentTimeUnit="seconds", playStart=0.0,
            name=artifact.name,
        )  # fmt: skip
        audio = element(
            clip, "Audio", channels=artifact.channels or 2, duration=material.duration_s,
            sampleRate=artifact.sample_rate or material.mix.sample_rate, id=f"audio-{artifact.name}",
        )  # fmt: skip
        element(audio, "File", path=f"../{artifact.path}", external="true")


def _markers(arrangement: Element, material: Material, grid: Grid) -> None:
    if material.sections:
        markers = element(arrangement, "Markers", timeUnit="beats", id="markers")
        for one in material.sections:
            element(markers, "Marker", time=max(grid.beat_at(one.start_s), 0.0), name=one.label)


def _automation(arrangement: Element, grid: Grid) -> None:
    tempo = element(arrangement, "TempoAutomation", timeUnit="beats", unit="bpm", id="tempi")
    element(tempo, "Target", parameter="tempo")
    for _, beat, bpm in grid.tempi:
        element(tempo, "RealPoint", time=beat, value=bpm, interpolation="hold")
    if len(grid.bars) > 1:
        bars = element(arrangement, "TimeSignatureAutomation", timeUnit="beats", id="signatures")
        element(bars, "Target", parameter="signature")
        for bar in grid.bars:
            element(bars, "TimeSignaturePoint", time=float(bar.beat), numerator=bar.beats, denominator=4)
