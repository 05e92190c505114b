"""What estimators find: one record for each musical property, as the manifest holds it.

Imports neither numpy nor torch, as `pipeline.manifest`.
"""

from __future__ import annotations

from array import array
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

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


class TempoPoint(Record):
    """The tempo around one moment."""

    time_s: float = Field(ge=0)
    bpm: float = Field(gt=0)


class Tempo(Annotation):
    """Beats per minute, with the other readings that a listener might choose."""

    bpm: float | None = Field(description="null when nothing in the recording repeats.")
    confidence: Fraction
    candidates: list[TempoCandidate] = Field(description="Most likely first; the first is `bpm`.")
    curve: list[TempoPoint] = Field(
        default=[],
        description="The tempo over time, at most 240 points; empty where there is none.",
    )
    drift_percent: float | None = Field(
        default=None, description="By how much the tempo rises from start to end; below 0 it falls."
    )


class MeterSpan(Record):
    """A stretch of bars of one size."""

    start_s: float = Field(ge=0)
    end_s: float = Field(ge=0)
    meter: str


class Beats(Annotation):
    """Beat times in seconds from the start of the mix, and how they form bars."""

    times_s: list[float]
    confidence: Fraction
    downbeats_s: list[float] = Field(default=[], description="Those of `times_s` that start a bar.")
    meter: str | None = Field(
        default=None,
        description="Beats in most of the bars, over the note that one is written as: 4/4, 3/4, 2/4, 6/8. "
        "With `division` 3 a meter of 2/4 is what is written as 6/8.",
    )
    meter_confidence: Fraction = 0.0
    meters: list[MeterSpan] = Field(default=[], description="Where the meter holds, in order of time.")
    division: Literal[2, 3] | None = Field(
        default=None, description="Parts that a beat is divided into; null where beats are not divided."
    )
    swing_ratio: float | None = Field(
        default=None,
        description="Length of the first half of a beat over the second: 1 is straight, 2 is triplet swing; "
        "null where eighths are rare or follow no pattern.",
    )


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


class LoudnessCurve(Record):
    """Loudness over time, thinned to a bounded number of points: each the loudest of its step."""

    step_s: float = Field(gt=0, description="Point n covers windows that begin n to n + 1 steps in.")
    momentary_lufs: list[float | None] = Field(description="Windows of 400 ms; null below -70 LUFS.")
    short_term_lufs: list[float | None] = Field(description="Windows of 3 s; null below -70 LUFS.")


class LoudnessFigures(Record):
    """EBU R 128 figures of a recording or a stem."""

    integrated_lufs: float | None = Field(description="null for silence (below the -70 LUFS gate).")
    range_lu: float | None = Field(description="Loudness range, EBU Tech 3342.")
    true_peak_dbtp: float | None
    sample_peak_dbfs: float | None
    momentary_max_lufs: float | None = None
    short_term_max_lufs: float | None = None
    plr_lu: float | None = Field(default=None, description="Peak to loudness: true peak less integrated.")
    curve: LoudnessCurve | None = None


class LoudnessValues(Annotation, LoudnessFigures):
    """EBU R 128 figures of the mix, and of every stem."""

    stems: dict[str, LoudnessFigures] = Field(default_factory=dict)


class SignalFigures(Record):
    """What the samples of a recording or a stem say about how it was made and kept."""

    dc_offset: float = Field(description="Largest mean of a channel, linear amplitude.")
    clipped_samples: int = Field(ge=0, description="Samples of flat tops: three or more at the same peak.")
    clipped: list[Span] = Field(description="Where they are, to a second; at most 100.")
    noise_floor_dbfs: float | None = Field(description="Level of the quietest twentieth; null for silence.")
    silence: list[Span] = Field(description="Pauses of half a second and more below -60 dBFS; at most 1000.")
    silent_fraction: Fraction
    width: Fraction | None = Field(
        default=None, description="Side's share of mid and side: 0 mono, .5 unrelated; null if not stereo."
    )
    correlation: float | None = Field(
        default=None, ge=-1, le=1, description="Of left and right: 1 mono, -1 opposite phase."
    )
    bandwidth_hz: float | None = Field(description="Above it there is nothing but the floor.")
    band_limited: bool | None = Field(
        description="Whether it ends there like a cliff: by a lossy codec, or a lower sample rate before."
    )


class SignalQuality(Annotation):
    """Technical figures of the mix, and of every stem."""

    mix: SignalFigures
    stems: dict[str, SignalFigures]


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
    bleed_db: float | None = Field(
        default=None,
        description="Level of what is left where the stem does not sound, relative to the mix there; null "
        "where it always sounds, or nothing is left.",
    )


class Shares(Record):
    """What part of the stems' energy is in each over time, thinned to a bounded number of points."""

    step_s: float = Field(gt=0)
    stems: dict[str, list[Fraction | None]] = Field(description="null where nothing sounds.")


class Activity(Annotation):
    """When each stem sounds, which are silent, and how the energy is shared among them."""

    stems: dict[str, StemActivity]
    shares: Shares | None = None


class Sound(Annotation):
    """What the mix sounds like, to recognise it and to find others like it."""

    fingerprint: str = Field(
        description="base64 of little-endian 32-bit words, from the first sound on; empty for silence."
    )
    prints_per_second: int = Field(gt=0)
    features: dict[str, float] = Field(description="Timbre, pitch profile, tempo … ; empty for silence.")


class Note(NamedTuple):
    """A note, in seconds from the start of the mix."""

    start_s: float
    end_s: float
    midi: int
    """MIDI number: 60 is middle C; on drums an instrument of General MIDI's percussion map."""
    velocity: int
    """1 to 127, from how loud it is among the others of its stem."""


class PitchCurve(NamedTuple):
    """Fundamental frequency of one voice, at even steps from the start of the mix."""

    step_s: float
    hz: array[float]
    """0 where nothing is sung or played."""


class StemNotes(Record):
    """The notes of one stem, in short: the notes themselves are in the exports."""

    count: int = Field(ge=0)
    lowest: str | None = Field(description="Lowest note, as C#4; middle C is C4. null for drums and silence.")
    highest: str | None
    confidence: Fraction
    drums: dict[str, int] | None = Field(
        default=None, description="Hits by instrument: kick, snare, hat, tom, cymbal; drums only."
    )
    _heard: tuple[Note, ...] = PrivateAttr(default=())
    _pitch: PitchCurve | None = PrivateAttr(default=None)

    @property
    def heard(self) -> tuple[Note, ...]:
        """The notes, in order of time. An hour may have 50,000: the manifest leaves them out."""
        return self._heard

    @property
    def pitch(self) -> PitchCurve | None:
        """The curve of a single voice, where it was followed. The manifest leaves it out."""
        return self._pitch

    def with_notes(self, heard: tuple[Note, ...], pitch: PitchCurve | None = None) -> StemNotes:
        """Attach what the manifest leaves out, for the exports."""
        self._heard, self._pitch = heard, pitch
        return self


class Notes(Annotation):
    """What is played and sung, stem by stem."""

    stems: dict[str, StemNotes]


class Word(Span):
    """A word that is sung or spoken."""

    text: str
    confidence: Fraction


class LyricLine(Span):
    """Words that belong together."""

    text: str
    words: list[Word]


class Lyrics(Annotation):
    """What is sung or spoken, as a network for speech hears it."""

    model: str | None = Field(description="What heard it; null where there is no voice to hear.")
    licence: str | None = Field(description="Licence of its weights.")
    language: str | None = Field(description="ISO 639-1 code; null where nothing was understood.")
    lines: list[LyricLine]
    confidence: Fraction = Field(description="Mean over words.")


class Analysis(Record):
    """What the estimators found. A property that was not asked for is null."""

    tempo: Tempo | Failed | None = None
    beats: Beats | Failed | None = None
    key: Key | Failed | None = None
    chords: Chords | Failed | None = None
    sections: Sections | Failed | None = None
    loudness: LoudnessValues | Failed | None = None
    signal: SignalQuality | Failed | None = None
    spectrum: Spectrum | Failed | None = None
    activity: Activity | Failed | None = None
    notes: Notes | Failed | None = None
    sound: Sound | Failed | None = None
    lyrics: Lyrics | Failed | None = None

    def as_written(self) -> Analysis:
        """What a reader of the manifest gets: without the notes themselves, which only exports need."""
        return Analysis.model_validate(self.model_dump())
