"""What estimators find: one record for each musical property, as the manifest holds it.

Imports neither numpy nor torch, as `pipeline.manifest`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Record(BaseModel):
    """Base of every part of the manifest: strict JSON, so no NaN and no infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Span(Record):
    """A stretch of time, in seconds from the start of the mix."""

    start_s: float = Field(ge=0)
    end_s: float = Field(ge=0)


class Problem(Record):
    """Why something failed."""

    code: str
    message: str


class Annotation(Record):
    """What every estimator's result says about itself."""

    status: Literal["ok"] = "ok"
    method: str = Field(description="How it was estimated, in one line.")
    version: str = Field(description="Version of the method: results of equal versions compare.")
    source: str = Field(description="What was listened to: mix, or stems joined with +.")


class Failed(Record):
    """An estimator that gave no answer."""

    status: Literal["failed"] = "failed"
    method: str
    version: str
    error: Problem


class TempoCandidate(Record):
    """One reading of the tempo."""

    bpm: float = Field(gt=0)
    confidence: Fraction


class Tempo(Annotation):
    """Beats per minute, with the other readings that a listener might choose."""

    bpm: float | None = Field(description="null when nothing in the recording repeats.")
    confidence: Fraction
    candidates: list[TempoCandidate] = Field(description="Most likely first; the first is `bpm`.")


class Beats(Annotation):
    """Beat times in seconds from the start of the mix."""

    times_s: list[float]
    confidence: Fraction


class KeyCandidate(Record):
    """One reading of the key."""

    tonic: str
    mode: Literal["major", "minor"]
    confidence: Fraction


class KeySegment(Span):
    """A stretch in one key."""

    tonic: str
    mode: Literal["major", "minor"]
    confidence: Fraction


class Key(Annotation):
    """Global key, and where it changes."""

    tonic: str | None = Field(
        description="C, C#, D, Eb, E, F, F#, G, Ab, A, Bb, B; null when there is no pitch."
    )
    mode: Literal["major", "minor"] | None
    confidence: Fraction
    candidates: list[KeyCandidate] = Field(description="Most likely first.")
    tuning_cents: float | None = Field(description="Deviation from A4 = 440 Hz, -50..50 cents.")
    segments: list[KeySegment] | None = Field(
        default=None,
        description="The key over time; one stretch where it never changes, none where there is no pitch.",
    )


class ChordSegment(Span):
    """A stretch under one chord."""

    label: str = Field(
        description="After Harte: root, colon, quality, and the bass where it is not the root, as an "
        "interval: C:maj, F#:min7, G:maj/3; N where there is no chord."
    )
    confidence: Fraction


class Chords(Annotation):
    """Chords from the start of the recording to its end, without gaps."""

    segments: list[ChordSegment]
    confidence: Fraction = Field(description="Mean over time; 0 where there is no chord at all.")
    chart: str = Field(description="A chord chart in plain text: by bars where they are known, else by time.")


class Section(Span):
    """A part of the form."""

    label: str = Field(description="A, B, C ... in order of appearance: what sounds alike has one letter.")
    name: Literal["intro", "verse", "chorus", "instrumental", "outro"] | None = Field(
        description="null where nothing tells."
    )
    confidence: Fraction = Field(description="Of where it begins.")


class Sections(Annotation):
    """The form: consecutive parts from the first sound to the last; none in silence."""

    segments: list[Section]
    confidence: Fraction


class LoudnessValues(Annotation):
    """EBU R 128 figures of the mix."""

    integrated_lufs: float | None = Field(description="null for silence (below the -70 LUFS gate).")
    range_lu: float | None = Field(description="Loudness range, EBU Tech 3342.")
    true_peak_dbtp: float | None
    sample_peak_dbfs: float | None


class Spectrum(Annotation):
    """Summary of the spectrum over the whole recording."""

    centroid_hz: float | None = Field(description="Mean over frames, weighted by their energy.")
    bandwidth_hz: float | None
    rolloff_hz: float | None = Field(description="85 % of the energy lies below.")
    flatness: float | None = Field(description="0 tonal .. 1 noise.")
    band_energy_db: dict[str, float | None] = Field(
        description="Energy of named bands relative to the whole, in dB."
    )


class StemActivity(Record):
    """When one stem sounds."""

    silent: bool
    active_fraction: Fraction
    energy_db: float | None = Field(description="Energy relative to the mix; null for digital silence.")
    active: list[Span]


class Activity(Annotation):
    """When each stem sounds, and which are silent."""

    stems: dict[str, StemActivity]


class Analysis(Record):
    """What the estimators found. A property that was not asked for is null."""

    tempo: Tempo | Failed | None = None
    beats: Beats | Failed | None = None
    key: Key | Failed | None = None
    chords: Chords | Failed | None = None
    sections: Sections | Failed | None = None
    loudness: LoudnessValues | Failed | None = None
    spectrum: Spectrum | Failed | None = None
    activity: Activity | Failed | None = None
