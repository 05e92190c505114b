"""The form of a recording: where its passages begin, which are alike, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pipeline.annotations import Annotation, Section, Sections
from pipeline.audio import Audio, FloatArray
from pipeline.estimators.base import ANALYSIS_RATE, Recording
from pipeline.estimators.form import Passage, letters, names
from pipeline.estimators.grid import Steps, beat_grid
from pipeline.estimators.pitches import pitched_source, pitches
from pipeline.estimators.structure import (
    band_power,
    contrast,
    features,
    harmony,
    repetition_change,
    typical,
)
from pipeline.estimators.tuning import tuning_of

SHORTEST_S = 8.0
SHORTER_ENDS = 3.0
"""The first passage and the last, intro and outro, may be that many times shorter."""
LEAST_NOVELTY = 0.75
"""Standard deviations above the median that novelty has to reach for a boundary."""
PEAK_STEPS = 4
"""Beats on either side than which a boundary is newer."""
EDGE_STEPS = 8
"""Beats at the start and the end of the music where repetitions are known to one side only."""
OFF_BAR = 0.3
"""What novelty counts for where no bar begins, if it is known where they do."""
FAINTEST_DB, FIRST_SOUND_S = -40.0, 0.02
"""Below the typical level there is silence, before the music and after it; looked at in so short pieces."""
VOICE_DB = -25.0
"""Below the typical level of the mix, a voice is bleed."""
FAINT_CONTRAST, CLEAR_CONTRAST = 0.05, 0.3
"""Contrast at boundaries: of noise, and between a verse and a chorus."""

FloatCurve = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Heard:
    """What is known of each sounding beat.

    Attributes:
        edges_s: float64 (steps + 1,), from the first sound to the last.
        bar: bool (steps,) whether a bar begins there; None where that is not known.
        described: float64 (steps, n).
        harmony: float64 (steps, 12).
        power: float64 (steps,) of the mix, relative to its typical one.
        voice: the same of the vocals; None where there is no such stem.
    """

    edges_s: FloatCurve
    bar: npt.NDArray[np.bool_] | None
    described: FloatCurve
    harmony: FloatCurve
    power: FloatCurve
    voice: FloatCurve | None


class SectionsEstimator:
    """Looks for beats where timbre, harmony and playing stems change, and what is repeated begins or ends.

    Parts that go through the same harmony in the same sound get the same letter. Names are given only
    where the stems tell who sings.
    """

    name = "sections"
    method = "contrast and change of repetitions over beats, in timbre, harmony and levels of stems"
    version = "1"
    needs: tuple[str, ...] = ("beats", "key")
    budget = 0.3

    def estimate(self, recording: Recording, found: Mapping[str, Annotation]) -> Sections:
        """Divide the recording.

        Args:
            recording: the mix and its stems.
            found: ``beats`` and ``key`` are used where they were estimated.

        Returns:
            Sections, empty in silence.
        """
        grid = beat_grid(found, recording.mix.duration_s, 1)
        heard = _listen(recording, grid, found.get("key"))
        segments = _sections(heard) if heard else []
        inner = [one.confidence for one in segments[1:]]
        return Sections(
            method=self.method,
            version=self.version,
            source="mix" if pitched_source(recording.stems) == "mix" else "+".join(_stems(recording)),
            segments=segments,
            confidence=round(float(np.mean(inner)), 3) if inner else 0.0,
        )


def _stems(recording: Recording) -> list[str]:
    return [name for name in recording.stems if not name.startswith("no_")]


def _listen(recording: Recording, grid: Steps, key: Annotation | None) -> _Heard | None:
    source = pitched_source(recording.stems)
    mix = band_power(recording.mono("mix"), grid.edges_s)
    reference = typical(mix)
    faintest = reference * 10 ** (FAINTEST_DB / 10)
    sounding = np.flatnonzero(mix.sum(axis=1) > faintest)
    if reference < 1e-9 or not len(sounding):
        return None
    first, last = int(sounding[0]), int(sounding[-1]) + 1
    begins_s = _first_sound(recording.mono("mix"), grid.edges_s[first : min(first + 2, last) + 1])
    if last - first > 1 and begins_s >= grid.edges_s[first + 1] - FIRST_SOUND_S:
        first += 1
    strength, _ = pitches(recording.mono(source), grid.edges_s, tuning_of(recording, source, key))
    wanted = [] if source == "mix" else _stems(recording)
    stems = {name: band_power(recording.mono(name), grid.edges_s) for name in wanted}
    edges = grid.edges_s[first : last + 1].copy()
    edges[0] = begins_s
    voice = stems["vocals"].sum(axis=1)[first:last] / reference if "vocals" in stems else None
    return _Heard(
        edges_s=edges,
        bar=grid.rank[first:last] == 2 if grid.bars else None,
        described=features(
            mix[first:last], {name: power[first:last] for name, power in stems.items()}, strength[first:last]
        ),
        harmony=harmony(strength[first:last]),
        power=mix.sum(axis=1)[first:last] / reference,
        voice=voice,
    )


def _first_sound(mix: Audio, edges_s: FloatCurve) -> float:
    """When within a few steps it begins to sound."""
    size = round(FIRST_SOUND_S * ANALYSIS_RATE)
    start, stop = (round(float(edge) * ANALYSIS_RATE) for edge in (edges_s[0], edges_s[-1]))
    samples: FloatArray = mix.window(start, stop)[0]
    power = np.square(samples[: len(samples) // size * size]).reshape(-1, size).mean(axis=1)
    sounding = power > power.max(initial=0.0) * 10 ** (FAINTEST_DB / 10)
    return float(edges_s[0]) + (int(np.argmax(sounding)) * FIRST_SOUND_S if len(sounding) else 0.0)


def _sections(heard: _Heard) -> list[Section]:
    differs = contrast(heard.described)
    inner = _boundaries(heard, differs)
    edges = [0, *inner, len(differs)]
    passages = [_passage(heard, start, stop) for start, stop in pairwise(edges)]
    letter = letters(passages)
    sure = [
        min(max((float(differs[edge]) - FAINT_CONTRAST) / (CLEAR_CONTRAST - FAINT_CONTRAST), 0.0), 1.0)
        for edge in inner
    ]
    return [
        Section(
            start_s=round(float(heard.edges_s[start]), 3),
            end_s=round(float(heard.edges_s[stop]), 3),
            label=label,
            name=name,
            confidence=round(confidence, 3),
        )
        for (start, stop), label, name, confidence in zip(
            pairwise(edges), letter, names(passages, letter), [1.0, *sure], strict=True
        )
    ]


def _boundaries(heard: _Heard, differs: FloatCurve) -> list[int]:
    """Peaks of the novelty, the highest first chosen, none nearer to another than `SHORTEST_S`."""
    from scipy.ndimage import maximum_filter1d

    changes = repetition_change(heard.described)
    ramp = np.minimum(np.arange(len(changes)), np.arange(len(changes))[::-1]) / EDGE_STEPS
    changes = changes * np.minimum(ramp, 1.0)
    novelty = _standardised(differs) + _standardised(changes)
    novelty /= max(float(novelty.std()), 1e-9)
    if heard.bar is not None:
        novelty *= np.where(heard.bar, 1.0, OFF_BAR)
    highest = maximum_filter1d(novelty, 2 * PEAK_STEPS + 1)
    starts, ends, least_s = heard.edges_s[:-1], heard.edges_s[[0, -1]], SHORTEST_S / SHORTER_ENDS
    found: list[int] = []
    for step in np.argsort(-novelty, kind="stable").tolist():
        if novelty[step] < LEAST_NOVELTY:
            break
        peak = novelty[step] >= highest[step] and differs[step] > FAINT_CONTRAST
        inside = np.abs(ends - starts[step]).min() >= least_s
        if peak and inside and all(abs(starts[step] - starts[other]) >= SHORTEST_S for other in found):
            found.append(step)
    return sorted(found)


def _standardised(curve: FloatCurve) -> FloatCurve:
    return np.asarray((curve - np.median(curve)) / max(float(curve.std()), 1e-9))


def _passage(heard: _Heard, start: int, stop: int) -> Passage:
    sung = None
    if heard.voice is not None:
        sung = float((heard.voice[start:stop] > 10 ** (VOICE_DB / 10)).mean())
    return Passage(
        harmony=heard.harmony[start:stop],
        sound=heard.described[start:stop].mean(axis=0),
        level_db=float(10 * np.log10(heard.power[start:stop].mean() + 1e-9)),
        sung=sung,
    )
