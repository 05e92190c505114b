"""What an export is: it writes what a job has found and made in a form that other programs open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from pipeline.annotations import (
    Analysis,
    Annotation,
    Beats,
    Chords,
    Failed,
    Key,
    LyricLine,
    Lyrics,
    Notes,
    Sections,
    StemNotes,
    Tempo,
)
from pipeline.audio import Audio
from pipeline.manifest import Artifact
from pipeline.progress import CancelToken

FOLDER = "analysis"
"""Where exports lie in a job's folder."""

_Kind = TypeVar("_Kind", bound=Annotation)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the recording with a label.

    Attributes:
        start_s: seconds from the start of the mix.
        end_s: likewise.
        label: as the estimator gave it.
    """

    start_s: float
    end_s: float
    label: str


@dataclass(frozen=True, slots=True)
class Material:
    """What there is to export.

    Attributes:
        filename: of the recording, as the user knows it: a title, never a path.
        analysis: what the estimators found.
        artifacts: stems and residual, as they were written; paths are relative to the job's folder.
        mix: the recording.
        stems: the stems that were separated, by name, before any gain.
        gain: linear factor with which the artifacts were written.
        scratch: folder for what an export needs on the way.
        cancel: looked at while audio is written.
    """

    filename: str
    analysis: Analysis
    artifacts: tuple[Artifact, ...]
    mix: Audio
    stems: Mapping[str, Audio]
    gain: float
    scratch: Path
    cancel: CancelToken

    @property
    def title(self) -> str:
        """The recording's name without its suffix and without control characters."""
        title = self.filename.rpartition(".")[0] or self.filename
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in title)

    @property
    def duration_s(self) -> float:
        """Length of the recording."""
        return self.mix.duration_s

    @property
    def beats_s(self) -> list[float]:
        """Beat times, rising; empty where there are none."""
        found = _answer(self.analysis.beats, Beats)
        return sorted(set(found.times_s)) if found else []

    @property
    def downbeats_s(self) -> list[float]:
        """Times of the beats that start a bar; empty where they are not known."""
        found = _answer(self.analysis.beats, Beats)
        return sorted(set(found.downbeats_s)) if found else []

    @property
    def bar_beats(self) -> int | None:
        """Beats a bar, where they are known."""
        found = _answer(self.analysis.beats, Beats)
        meter = (found.meter or "" if found else "").partition("/")[0]
        return int(meter) if meter.isdigit() and int(meter) > 0 else None

    @property
    def tempo_bpm(self) -> float | None:
        """The tempo that holds over most of the recording."""
        found = _answer(self.analysis.tempo, Tempo)
        return found.bpm if found else None

    @property
    def key(self) -> Key | None:
        """The key, where there is one."""
        found = _answer(self.analysis.key, Key)
        return found if found and found.tonic is not None else None

    @property
    def chords(self) -> list[Segment]:
        """Chords in Harte's notation; empty where there are none."""
        return list(_segments(_answer(self.analysis.chords, Chords)))

    @property
    def sections(self) -> list[Segment]:
        """Sections of the form; empty where there are none."""
        return list(_segments(_answer(self.analysis.sections, Sections)))

    @property
    def lyrics(self) -> list[LyricLine]:
        """What is sung, line by line; empty where nothing is known of it."""
        found = _answer(self.analysis.lyrics, Lyrics)
        return found.lines if found else []

    @property
    def notes(self) -> dict[str, StemNotes]:
        """Notes by stem, of stems that have any."""
        found = _answer(self.analysis.notes, Notes)
        return {name: stem for name, stem in found.stems.items() if stem.heard} if found else {}

    def counted_beats(self) -> Iterator[tuple[float, int | None]]:
        """Beat times, each with its place in its bar, counted from 1: None before the first known bar."""
        starts, number = set(self.downbeats_s), 0
        for time in self.beats_s:
            number = 1 if time in starts else number + 1 if number else 0
            yield time, number or None

    @property
    def files(self) -> list[Artifact]:
        """One file of each stem and of the residual: the first format that was asked for."""
        first = {artifact.name: artifact for artifact in reversed(self.artifacts)}
        return [first[name] for name in dict.fromkeys(artifact.name for artifact in self.artifacts)]


class Export(Protocol):
    """A form in which other programs read a job."""

    name: str
    """As the user asks for it."""
    needs: str
    """What it is made of, in words: for the notice that there is nothing to export."""

    def write(self, material: Material, folder: Path) -> list[Path]:
        """Write the files.

        Args:
            material: what there is to export.
            folder: where they go; the job's artifacts are reached from it by ``../``.

        Returns:
            The files; none where there is nothing to export.

        Raises:
            PipelineError: as of the tools that are used; any other exception becomes a notice.
        """
        ...


def _answer(found: Annotation | Failed | None, kind: type[_Kind]) -> _Kind | None:
    return found if isinstance(found, kind) else None


def _segments(found: Chords | Sections | None) -> Iterator[Segment]:
    for one in found.segments if found else ():
        if one.end_s > one.start_s:
            yield Segment(one.start_s, one.end_s, one.label)
