"""Waveform data for players: the smallest and the largest sample of each bucket of a stem."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from pipeline.manifest import Artifact

_BLOCK = 1 << 18


def stem_peaks(file: Path, artifact: Artifact, buckets: int, cache: Path) -> dict[str, Any]:
    """Measure a stem, or take what was measured before.

    Args:
        file: the stem's audio.
        artifact: its record.
        buckets: how many are wanted; a short stem has fewer.
        cache: folder of the job's waveform data.

    Returns:
        The fields of `api.schemas.Peaks`.
    """
    samples = artifact.samples or 0
    per_bucket = max(-(-samples // buckets), 1)
    kept = cache / f"{artifact.sha256[:16]}-{per_bucket}.json"
    try:
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = {
            "name": artifact.name,
            "sample_rate": artifact.sample_rate,
            "samples": samples,
            "samples_per_bucket": per_bucket,
            "bits": 8,
            "data": _measure(file, per_bucket),
        }
        _keep(kept, found)
    return found


def _measure(file: Path, per_bucket: int) -> list[int]:
    """Alternating minimum and maximum of each bucket of the mean over channels, in 8-bit steps."""
    size = max(_BLOCK // per_bucket, 1) * per_bucket
    data: list[int] = []
    with soundfile.SoundFile(file) as audio:
        for block in audio.blocks(blocksize=size, dtype="float32", always_2d=True):
            mono = block.mean(axis=1)
            edges = np.arange(0, len(mono), per_bucket)
            low = np.minimum.reduceat(mono, edges)
            high = np.maximum.reduceat(mono, edges)
            both = np.rint(np.stack([low, high], axis=1) * 127).clip(-128, 127)
            data.extend(both.astype(int).ravel().tolist())
    return data


def _keep(path: Path, found: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(found, separators=(",", ":")), encoding="utf-8")
    temporary.rename(path)
