"""What a job is asked to do. Frozen; built by the entry points; nothing here reads the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

_OVERLAP: Final = {"exact": 0.25, "balanced": 0.25, "fast": 0.1}
"""By precision. 0.25 is demucs' own; docs/measurements.md has what less of it costs."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Frozen):
    """What an input may cost before it is refused."""

    max_bytes: int = Field(default=4 << 30, gt=0, description="Size of the input file.")
    max_duration_s: float = Field(
        default=4 * 3600.0, gt=0, description="Decoded length: counted, not claimed."
    )
    max_decoded_bytes: int = Field(default=64 << 30, gt=0, description="float32 bytes after decoding.")
    min_duration_s: float = Field(default=0.1, ge=0)
    probe_timeout_s: float = Field(default=30.0, gt=0)
    decode_timeout_s: float = Field(default=1800.0, gt=0)
    decoder_memory_bytes: int = Field(default=2 << 30, gt=0, description="Address space of ffmpeg.")


class WeightsConfig(_Frozen):
    """Where weights come from."""

    cache_dir: Path | None = Field(default=None, description="None: the user's cache folder.")
    mirror: str | None = Field(default=None, description="Folder or https URL that holds weight files.")
    offline: bool = Field(default=False, description="Never use the network: cache and folder mirrors only.")


class PipelineConfig(_Frozen):
    """Options of one job."""

    model: str = "htdemucs"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["exact", "balanced", "fast"] = Field(
        default="balanced",
        description="exact: demucs' own arithmetic, bit for bit. balanced: compiled for this processor, in "
        "bfloat16 where it has it. fast: the same with less overlap.",
    )
    stems: tuple[str, ...] | None = Field(
        default=None, description="None: all of the model's. no_<stem> is the mix minus that stem."
    )
    formats: tuple[str, ...] = Field(default=("flac",), min_length=1)
    shifts: int = Field(
        default=0, ge=0, le=20, description="Random time shifts to average over (quality for time)."
    )
    overlap: float | None = Field(
        default=None,
        ge=0.0,
        lt=1.0,
        description="Overlap of neighbouring segments. None: 0.25, demucs' own; 0.1 for precision fast.",
    )
    segment_s: float | None = Field(default=None, gt=0.5, description="None: the model's own.")
    residual: Literal["report", "file", "distribute"] = Field(
        default="report",
        description="mix - sum(stems): measured only, also published, or shared out so that stems null.",
    )
    channels: Literal["keep", "stereo"] = Field(
        default="keep", description="stereo: fold more than two channels down (ITU-R BS.775)."
    )
    estimators: tuple[str, ...] | None = Field(default=None, description="None: all; empty: none.")
    exports: tuple[str, ...] = Field(
        default=(), description="What other programs are to open: csv, midi … None unless asked for."
    )
    commercial_only: bool = False
    accept_damaged: bool = Field(
        default=False, description="Use what can be decoded of truncated or broken files, with a warning."
    )
    threads: int | None = Field(default=None, ge=1, description="None: one per core.")
    limits: Limits = Limits()
    weights: WeightsConfig = WeightsConfig()

    @property
    def segment_overlap(self) -> float:
        """Share of a segment that the next one covers too: as asked for, or what the precision takes."""
        return _OVERLAP[self.precision] if self.overlap is None else self.overlap
