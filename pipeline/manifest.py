"""The manifest: the versioned record of a finished job.

Imports neither numpy nor torch, so that every client can read manifests cheaply. The JSON Schema is
published in ``docs/manifest.schema.json``; a test keeps both equal.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError

from pipeline.annotations import Analysis, Fraction, Record
from pipeline.errors import ManifestInvalid

SCHEMA_VERSION: Final = "1.4"
"""``major.minor``: a new optional field raises minor, anything else raises major.

1.1 added `Separation.reused`, 1.2 what the estimators of chords, sections, notes … find, and exports,
1.3 lyrics, 1.4 `Separation.stretches`.
"""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


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
    stretches: int = Field(
        default=1,
        ge=1,
        description="In how many stretches it was made, by as many workers as were free. "
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


class StageRecord(Record):
    """One stage of the job."""

    name: Literal["probe", "decode", "separate", "estimate", "encode", "export", "publish"]
    seconds: float = Field(ge=0)
    status: Literal["succeeded", "skipped"]


class Notice(Record):
    """Something the user should know although the job succeeded."""

    code: str
    message: str


class Manifest(Record):
    """The record of a finished job. Its presence in a folder means that the job is complete."""

    schema_version: Literal["1.0", "1.1", "1.2", "1.3", "1.4"] = "1.4"
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
        data = file.read_bytes()
    except OSError as exc:
        raise ManifestInvalid(f"There is no readable manifest at {file.name!r}: {exc.strerror}.") from exc
    return parse_manifest(data, file.name)


def parse_manifest(data: bytes, name: str = "manifest.json") -> Manifest:
    """Validate a manifest.

    Args:
        data: of its file.
        name: of its file, for messages.

    Raises:
        ManifestInvalid: not strict JSON, or not of this schema.
    """
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise ManifestInvalid(
            f"{name!r} is not a valid manifest: {where}: {first['msg']}.",
            f"This version reads schema {SCHEMA_VERSION}.",
        ) from exc
