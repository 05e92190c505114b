"""What an estimator is, and what it may look at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from pipeline.annotations import Annotation
from pipeline.audio import Audio, FloatArray
from pipeline.config import WeightsConfig
from pipeline.resample import resample
from pipeline.scratch import ScratchWriter

ANALYSIS_RATE = 22050
"""Sample rate in Hz that the frame-based estimators work at: librosa's own default."""

AUDIBLE_DB = -22.0
"""A stem this far below the mix is bleed of other instruments, and no guide to anything."""


class Recording:
    """A mix with its stems, as the estimators see it: mono views are made once and shared.

    Args:
        mix: the recording.
        stems: the separated parts by name; empty when nothing was separated.
        scratch: folder for the views and for arrays as long as the recording; whoever calls removes it.
        weights: where weights lie that no package carries.
    """

    def __init__(
        self,
        mix: Audio,
        stems: Mapping[str, Audio],
        scratch: Path,
        weights: WeightsConfig = WeightsConfig(),  # noqa: B008 - frozen
    ) -> None:
        self.mix = mix
        self.stems = stems
        self.weights = weights
        self.scratch = scratch
        self._mono: dict[str, Audio] = {}
        self._lock = threading.Lock()

    def mono(self, source: str, sample_rate: int = ANALYSIS_RATE) -> Audio:
        """Mono view of a source, on disk as all that is as long as the recording.

        Args:
            source: ``mix``, a stem, or several stems joined with ``+``.
            sample_rate: Hz of the result.

        Returns:
            One channel: the mean over channels, summed over the named stems.

        Raises:
            DiskFull: no space left.
        """
        key = f"{source}@{sample_rate}"
        with self._lock:  # Whoever else wants it meanwhile would make the same.
            if key not in self._mono:
                parts = [self.mix] if source == "mix" else [self.stems[name] for name in source.split("+")]
                with ScratchWriter(self.scratch / f"mono-{key}.f32", 1) as writer:
                    for block in _mono(parts, sample_rate):
                        writer.write(block)
                    self._mono[key] = writer.audio(sample_rate)
            return self._mono[key]

    def watched(self, check: Callable[[], None]) -> Recording:
        """The same recording, with its views, for one who is to be stopped.

        Args:
            check: called before every read; what it raises ends the reading.
        """
        return _WatchedRecording(self, check)


@dataclass(frozen=True, slots=True, eq=False)
class _WatchedAudio(Audio):
    check: Callable[[], None] = field(kw_only=True)

    def window(self, start: int, stop: int) -> FloatArray:
        self.check()
        # Slots make a new class, which a bare super() does not find.
        return super(_WatchedAudio, self).window(start, stop)


class _WatchedRecording(Recording):
    def __init__(self, whole: Recording, check: Callable[[], None]) -> None:
        self._whole, self._check = whole, check
        self.mix = self._watched_audio(whole.mix)
        self.stems = {name: self._watched_audio(stem) for name, stem in whole.stems.items()}
        self.weights = whole.weights
        self.scratch = whole.scratch

    def mono(self, source: str, sample_rate: int = ANALYSIS_RATE) -> Audio:
        self._check()
        return self._watched_audio(self._whole.mono(source, sample_rate))

    def _watched_audio(self, audio: Audio) -> Audio:
        return _WatchedAudio(audio.samples, audio.sample_rate, audio.speakers, check=self._check)


def _mono(parts: list[Audio], sample_rate: int) -> Iterator[FloatArray]:
    first = parts[0]
    summed = (
        np.sum(blocks, axis=0).mean(axis=0, keepdims=True)
        for blocks in zip(*(part.blocks() for part in parts), strict=True)
    )
    return resample(summed, first.sample_rate, sample_rate, first.length)


def energy(audio: Audio) -> float:
    """Sum of the squares of all samples."""
    return sum(float(np.square(block, dtype=np.float64).sum()) for block in audio.blocks())


def audible(recording: Recording, stem: str) -> bool:
    """Whether a stem is there, and more than bleed."""
    if stem not in recording.stems:
        return False
    found, mix = (energy(recording.mono(name)) for name in (stem, "mix"))
    return found > mix * 10 ** (AUDIBLE_DB / 10)


class Estimator(Protocol):
    """Audio in, one musical property out."""

    name: str
    """Field of the manifest's ``analysis`` that the result is written to."""
    method: str
    """How it works, in one line, for the manifest."""
    version: str
    """Raised whenever the same audio may give another result."""
    needs: tuple[str, ...]
    """Estimators whose results it looks at, where they are to be had."""
    budget: float
    """Seconds that it may take for a second of recording, several times what it usually takes on one core."""

    def estimate(self, recording: Recording, found: Mapping[str, Annotation]) -> Annotation:
        """Estimate the property.

        Args:
            recording: the mix and its stems.
            found: results of the estimators that it `needs`, by name.

        Raises:
            EstimatorFailed: there is no answer; any other exception is recorded the same way.
        """
        ...
