"""A finished job's findings, made up, for the exports to write."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.annotations import (
    Analysis,
    Beats,
    Chords,
    ChordSegment,
    LyricLine,
    Lyrics,
    Note,
    Notes,
    PitchCurve,
    Section,
    Sections,
    StemNotes,
    Tempo,
    Word,
)
from pipeline.audio import Audio
from pipeline.exports.base import Material
from pipeline.manifest import Artifact
from pipeline.progress import CancelToken
from tests.audio_files import music

STEMS = ("drums", "bass", "other", "vocals")
ABOUT: dict[str, Any] = {"method": "made up", "version": "1", "source": "mix"}


def beats(times_s: Sequence[float], downbeats_s: Sequence[float] = (), meter: str | None = None) -> Any:
    """Beats with their bars, as the estimator gives them."""
    found = Beats(times_s=list(times_s), confidence=0.9, **ABOUT)
    return found.model_copy(update={"downbeats_s": list(downbeats_s), "meter": meter})


def chords(*rows: tuple[float, float, str]) -> Chords:
    """Chords from start to end."""
    found = [ChordSegment(start_s=a, end_s=b, label=label, confidence=0.8) for a, b, label in rows]
    return Chords(segments=found, confidence=0.8, chart="", **ABOUT)


def sections(*rows: tuple[float, float, str]) -> Sections:
    """Sections from start to end."""
    found = [Section(start_s=a, end_s=b, label=label, name=None, confidence=0.8) for a, b, label in rows]
    return Sections(segments=found, confidence=0.8, **ABOUT)


def notes(**stems: Sequence[Note]) -> Notes:
    """Notes by stem; those of drums are hits."""
    found = {
        name: StemNotes(
            count=len(heard),
            lowest=None,
            highest=None,
            confidence=0.7,
            drums={} if name == "drums" else None,
        ).with_notes(
            tuple(heard), PitchCurve(0.01, array("f", [0.0, 220.0, 221.0])) if name == "vocals" else None
        )
        for name, heard in stems.items()
    }
    return Notes(stems=found, **ABOUT)


LYRICS = Lyrics(
    model="whisper-tiny.en",
    licence="MIT",
    language="en",
    lines=[
        LyricLine(
            start_s=1.5,
            end_s=2.5,
            text="Good evening, friends",
            words=[
                Word(start_s=1.5, end_s=1.75, text="Good", confidence=0.9),
                Word(start_s=1.75, end_s=2.0, text="evening,", confidence=0.9),
                Word(start_s=2.0, end_s=2.5, text="friends", confidence=0.8),
            ],
        ),
        LyricLine(
            start_s=6.0,
            end_s=6.0,
            text="<Oh> — là",
            words=[Word(start_s=6.0, end_s=6.0, text="Oh", confidence=0.5)],
        ),
    ],
    confidence=0.8,
    **ABOUT,
)


def full(scratch: Path, seconds: float = 8.0, filename: str = 'song <&> "x".flac') -> Material:
    """All there can be: 120 BPM in four from 0.5 s, two chords, two sections, notes of three stems."""
    times = np.arange(0.5, seconds, 0.5).tolist()
    found = Analysis(
        tempo=Tempo(bpm=120.0, confidence=0.9, candidates=[], **ABOUT),
        lyrics=LYRICS,
        notes=notes(
            drums=[Note(t, t + 0.05, 36 if i % 2 == 0 else 38, 100) for i, t in enumerate(times)],
            bass=[Note(0.5, 1.0, 40, 90), Note(1.0, 2.0, 43, 80)],
            vocals=[Note(1.5, 2.5, 64, 70)],
        ),
    ).model_copy(
        update={
            "beats": beats(times, times[1::4], "4/4"),
            "chords": chords((0.0, 4.0, "C:maj"), (4.0, seconds, "A:min7")),
            "sections": sections((0.0, 4.0, "A"), (4.0, seconds, "B")),
        }
    )
    return material(scratch, found, seconds, filename)


def empty(scratch: Path) -> Material:
    """A job without estimators and stems."""
    return material(scratch, Analysis(), 2.0, "song.flac", ())


def material(
    scratch: Path, analysis: Analysis, seconds: float, filename: str, stems: Sequence[str] = STEMS
) -> Material:
    """Wrap findings with a recording."""
    mix = Audio(music(seconds), 44100)
    artifacts = tuple(
        Artifact(
            name=name,
            kind="stem",
            path=f"stems/{name}.flac",
            format="flac",
            bytes=1,
            sha256="0" * 64,
            duration_s=mix.duration_s,
            samples=mix.length,
            sample_rate=mix.sample_rate,
            channels=2,
        )
        for name in stems
    )
    parts = {name: Audio(mix.samples * np.float32(0.1 * (i + 1)), 44100) for i, name in enumerate(stems)}
    return Material(filename, analysis, artifacts, mix, parts, 1.0, scratch, CancelToken())
