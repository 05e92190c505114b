"""The manifest: the versioned record of a finished job.

Imports neither numpy nor torch, so that every client can read manifests cheaply. The JSON Schema is
published in ``docs/manifest.schema.json``; a test keeps both equal.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import ManifestInvalid

SCHEMA_VERSION: Final = "1.1"
"""``major.minor``: a new optional field raises minor, anything else raises major.

1.1 added `Separation.reused`.
"""

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Record(BaseModel):
    """Base of every part of the manifest: strict JSON, so no NaN and no infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Input(Record):
    """The mix as it was given."""

    filename: str = Field(description="Name as given by the user: metadata, never a path to open.")
    sha256: Sha256
    bytes: int = Field(ge=0)
    container: str = Field(description="Container format, in ffprobe's short name.")
    codec: str
    duration_s: float = Field(ge=0)
    samples: int = Field(ge=0, description="Decoded samples per channel, counted.")
    sample_rate: int = Field(gt=0, description="Hz.")
    channels: int = Field(gt=0)
    tags: dict[str, str] = Field(default_factory=dict)


class Separation(Record):
    """How the mix was taken apart."""

    model: str
    weights_sha256: Sha256 | None = Field(
        description="Hash over the network's tensors, whatever file they came in; null without weights."
    )
    licence: str = Field(description="Licence of the weights, which binds the use of the stems.")
    commercial_use: bool = Field(description="Whether that licence allows commercial use.")
    quality: str = Field(description="What to expect of this model, with its source.")
    device: str
    precision: str
    parameters: dict[str, Any]
    gain_db: float = Field(
        description="The one gain applied to every stem so that none clips; 0 when nothing was changed."
    )
    residual_db: float | None = Field(
        description="Null test: energy of mix - sum(stems) relative to the mix, in dB; -200 when there is "
        "none, null when not all stems were made."
    )
    reused: Fraction = Field(
        default=0.0,
        description="How much of it an earlier job with the same recording had made: 0 none, 1 all. "
        "The stems are the same, bit for bit.",
    )


class Artifact(Record):
    """A file that the job published."""

    name: str
    kind: Literal["stem", "residual", "analysis"]
    path: str = Field(description="Relative to the manifest's folder, with forward slashes.")
    format: str
    bytes: int = Field(ge=0)
    sha256: Sha256
    duration_s: float | None = None
    samples: int | None = None
    sample_rate: int | None = None
    channels: int | None = None
    loudness_lufs: float | None = Field(default=None, description="Integrated; null for silence.")
    true_peak_dbtp: float | None = Field(default=None, description="null for digital silence.")


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


class Key(Annotation):
    """Global key."""

    tonic: str | None = Field(
        description="C, C#, D, Eb, E, F, F#, G, Ab, A, Bb, B; null when there is no pitch."
    )
    mode: Literal["major", "minor"] | None
    confidence: Fraction
    candidates: list[KeyCandidate] = Field(description="Most likely first.")
    tuning_cents: float | None = Field(description="Deviation from A4 = 440 Hz, -50..50 cents.")


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


class Span(Record):
    """A stretch of time, in seconds from the start of the mix."""

    start_s: float = Field(ge=0)
    end_s: float = Field(ge=0)


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
    loudness: LoudnessValues | Failed | None = None
    spectrum: Spectrum | Failed | None = None
    activity: Activity | Failed | None = None


class StageRecord(Record):
    """One stage of the job."""

    name: Literal["probe", "decode", "separate", "estimate", "encode", "publish"]
    seconds: float = Field(ge=0)
    status: Literal["succeeded", "skipped"]


class Notice(Record):
    """Something the user should know although the job succeeded."""

    code: str
    message: str


class Manifest(Record):
    """The record of a finished job. Its presence in a folder means that the job is complete."""

    schema_version: Literal["1.0", "1.1"] = "1.1"
    job_id: str
    status: Literal["succeeded"] = "succeeded"
    created_at: datetime
    started_at: datetime
    finished_at: datetime
    input: Input
    separation: Separation
    analysis: Analysis
    artifacts: list[Artifact]
    stages: list[StageRecord]
    software: dict[str, str]
    warnings: list[Notice]

    def to_json(self) -> str:
        """Serialise as strict JSON, indented, with a newline at the end."""
        return self.model_dump_json(indent=2) + "\n"


def read_manifest(path: Path) -> Manifest:
    """Read and validate a manifest.

    Args:
        path: a ``manifest.json``, or the job folder that holds one.

    Raises:
        ManifestInvalid: missing, not strict JSON, or not of this schema.
    """
    file = path / "manifest.json" if path.is_dir() else path
    try:
        return Manifest.model_validate_json(file.read_bytes())
    except OSError as exc:
        raise ManifestInvalid(f"There is no readable manifest at {file.name!r}: {exc.strerror}.") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise ManifestInvalid(
            f"{file.name!r} is not a valid manifest: {where}: {first['msg']}.",
            f"This version reads schema {SCHEMA_VERSION}.",
        ) from exc
