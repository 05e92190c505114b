"""The steps of time in which harmony and form are looked at: beats and parts of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pipeline.annotations import Annotation, Beats

WITHOUT_BEATS_S = 0.5
"""Length of a beat where there are none to go by."""
SHORTEST_STEP_S = 0.02

FloatCurve = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Steps:
    """Consecutive steps from the start of the recording to its end.

    Attributes:
        edges_s: float64 (steps + 1,) rising, from 0 to the duration.
        rank: int8 (steps,) what each step begins with: 2 a bar, 1 a beat, 0 neither.
        bars: whether it is known where bars begin.
    """

    edges_s: FloatCurve
    rank: npt.NDArray[np.int8]
    bars: bool


def beat_grid(found: Mapping[str, Annotation], duration_s: float, per_beat: int) -> Steps:
    """Divide a recording by its beats, carried on before the first, after the last and through pauses.

    Args:
        found: ``beats`` is used where it was estimated.
        duration_s: of the recording.
        per_beat: steps a beat.
    """
    beats = found.get("beats")
    times = np.asarray(beats.times_s if isinstance(beats, Beats) else [], dtype=np.float64)
    downbeats = np.asarray(beats.downbeats_s if isinstance(beats, Beats) else [], dtype=np.float64)
    carried = _carried_on(times, duration_s)
    parts = [carried[:-1] + np.diff(carried) * part / per_beat for part in range(per_beat)]
    inner = np.sort(np.concatenate([*parts, carried[-1:]])) if len(carried) else carried
    inner = inner[(inner > SHORTEST_STEP_S) & (inner < duration_s - SHORTEST_STEP_S)]
    edges = np.concatenate([[0.0], inner, [max(duration_s, SHORTEST_STEP_S)]])
    on_beat = _near(edges[:-1], carried)
    # The start stands for a beat that is too near to be an edge of its own.
    on_beat[0] |= bool(np.any(carried <= SHORTEST_STEP_S))
    on_bar = on_beat & _near(edges[:-1], downbeats, 0.07)
    bars = len(downbeats) > 1 and bool(on_bar.any())
    return Steps(edges, (on_beat.astype(np.int8) + on_bar).astype(np.int8), bars)


def _carried_on(times: FloatCurve, duration_s: float) -> FloatCurve:
    if len(times) < 2:
        return np.arange(0.0, duration_s, WITHOUT_BEATS_S)
    period = float(np.median(np.diff(times)))
    pieces = [np.arange(times[0] - period, 0.0, -period)[::-1]]
    for start, stop in pairwise(times):
        missed = max(round((stop - start) / period), 1)
        pieces.append(start + np.arange(missed) * (stop - start) / missed)
    pieces.append(np.arange(times[-1], duration_s, period))
    return np.concatenate(pieces)


def _near(times: FloatCurve, others: FloatCurve, within_s: float = 1e-6) -> npt.NDArray[np.bool_]:
    if not len(others):
        return np.zeros(len(times), dtype=bool)
    after = np.clip(np.searchsorted(others, times), 1, max(len(others) - 1, 1))
    nearest = np.minimum(
        np.abs(others[np.minimum(after, len(others) - 1)] - times), np.abs(others[after - 1] - times)
    )
    return np.asarray(nearest <= within_s)
