"""The likeliest course of something that changes seldom: chords, keys."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatCurve = npt.NDArray[np.float64]


def best_path(fits: npt.NDArray[np.floating], cost: FloatCurve) -> npt.NDArray[np.intp]:
    """Find the states that fit best together, where a change to any other costs the same: Viterbi's search.

    Args:
        fits: (>= 1, states) log likelihood of each state at each step.
        cost: float64 (steps,) nats that a change costs as a step begins.

    Returns:
        intp (steps,) a state for each step.
    """
    steps, states = fits.shape
    score, stay = fits[0].astype(np.float64), np.arange(states, dtype=np.int16)
    back = np.zeros((steps, states), dtype=np.int16)
    for step in range(1, steps):
        best = int(score.argmax())
        change = score[best] - cost[step]
        back[step] = np.where(score >= change, stay, best)
        score = np.maximum(score, change) + fits[step]
    path = np.empty(steps, dtype=np.intp)
    path[-1] = score.argmax()
    for step in range(steps - 1, 0, -1):
        path[step - 1] = back[step, path[step]]
    return path
