"""Waveform data for players: the smallest and the largest sample of each bucket of a stem."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from api.encryption.errors import EncryptedFileDamaged
from api.encryption.stored import Stored
from api.jobs.listening import Whole
from pipeline.audio import FloatArray
from pipeline.manifest import Artifact

log = logging.getLogger(__name__)

_BLOCK = 1 << 18


def stem_peaks(file: Stored, artifact: Artifact, buckets: int, cache: Stored) -> dict[str, Any]:
    """Measure a stem, or take what was measured before.

    Args:
        file: the stem's audio.
        artifact: its record.
        buckets: how many are wanted; a short stem has fewer.
        cache: folder of the job's waveform data.

    Returns:
        The fields of `api.schemas.Peaks`.
    """
    rate, samples = artifact.sample_rate or 0, artifact.samples or 0
    return peaks(Whole(artifact.name, artifact.sha256, rate, samples, _blocks(file)), buckets, cache)


def peaks(whole: Whole, buckets: int, cache: Stored) -> dict[str, Any]:
    """Measure a track, or take what was measured before; see `stem_peaks`."""
    per_bucket = max(-(-whole.samples // buckets), 1)
    kept = cache / f"{whole.sha256[:16]}-{per_bucket}.json"
    try:
        found: dict[str, Any] = json.loads(kept.read())
    except (OSError, ValueError, EncryptedFileDamaged):
        found = {
            "name": whole.name,
            "sample_rate": whole.sample_rate,
            "samples": whole.samples,
            "samples_per_bucket": per_bucket,
            "bits": 8,
            "data": _measure(whole.blocks, -(-whole.samples // per_bucket), per_bucket),
        }
        keep(kept, json.dumps(found, separators=(",", ":")).encode())
    return found


def keep(stored: Stored, data: bytes) -> None:
    """Write what was measured, if there is room for it."""
    try:
        stored.path.parent.mkdir(parents=True, exist_ok=True)
        stored.write(data)
    except OSError as exc:  # A full disk: it is measured again next time.
        log.warning("a measurement could not be kept: %s", exc.strerror, extra={"action": "peaks_not_kept"})


def _blocks(file: Stored) -> Iterator[FloatArray]:
    with file.sounding() as readable, soundfile.SoundFile(readable) as audio:
        for block in audio.blocks(blocksize=_BLOCK, dtype="float32", always_2d=True):
            yield block.T


def _measure(blocks: Iterable[FloatArray], buckets: int, per_bucket: int) -> list[int]:
    """Alternating minimum and maximum of each bucket of the mean over channels, in 8-bit steps."""
    low = np.full(buckets, np.inf, np.float32)
    high = -low
    position = 0
    for block in blocks:
        mono = block.mean(axis=0)[: buckets * per_bucket - position]
        first = position // per_bucket
        edges = np.arange(first * per_bucket, position + len(mono), per_bucket) - position
        edges[:1] = 0
        reached = slice(first, first + len(edges))
        if len(edges):
            low[reached] = np.minimum(low[reached], np.minimum.reduceat(mono, edges))
            high[reached] = np.maximum(high[reached], np.maximum.reduceat(mono, edges))
        position += len(mono)
    both: npt.NDArray[np.float32] = np.stack([low, high], axis=1)
    both[~np.isfinite(both)] = 0.0  # Where a file ends early.
    return [int(step) for step in np.rint(both * 127).clip(-128, 127).ravel()]
