"""The grid of bars and beats that sequencers have, laid over the beats of a recording."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

_USUAL_BPM: Final = 120.0
_TOLERANCE_S: Final = 0.006
"""How far a beat may lie off the grid for the sake of fewer changes of tempo: nobody hears it."""
_FEWEST: Final = 2


@dataclass(frozen=True, slots=True)
class Bar:
    """From here on bars have so many beats.

    Attributes:
        beat: where it begins, in beats from the start of the grid.
        beats: a bar.
    """

    beat: int
    beats: int


class Grid:
    """Time in seconds against beats from the start of the recording, as straight lines between anchors.

    The grid starts with the recording: beat 0 is second 0, and the beats of the recording lie on whole beats,
    its downbeats on the first of a bar. What comes before the first beat has a tempo of its own for that.

    Args:
        beats_s: beat times in seconds, rising.
        downbeats_s: those of them that start a bar.
        bar_beats: beats a bar, where the downbeats do not tell; None: four.
        bpm: tempo where there are not beats enough.
    """

    def __init__(
        self,
        beats_s: Sequence[float],
        downbeats_s: Sequence[float] = (),
        bar_beats: int | None = None,
        bpm: float | None = None,
    ) -> None:
        self.known = len(beats_s) >= _FEWEST
        starts = _starts(beats_s, downbeats_s) if self.known else []
        usual = _usual_bar(starts) or bar_beats or 4
        if not self.known:
            self.anchors = [(0.0, 0.0), (60.0 / (bpm or _USUAL_BPM), 1.0)]
            self.bars = [Bar(0, usual)]
            return
        skipped, first = _lead_in(beats_s, starts[0] if starts else None, usual)
        timed = [(time, float(first + index)) for index, time in enumerate(beats_s[skipped:])]
        self.anchors = [(0.0, 0.0), *_fewer(timed)]
        self.bars = _bars([start - skipped + first for start in starts if start >= skipped], usual)

    def beat_at(self, time_s: float) -> float:
        """Beats from the start of the grid, at a time in seconds."""
        index = min(max(bisect_right(self.anchors, (time_s, math.inf)), 1), len(self.anchors) - 1)
        (t0, b0), (t1, b1) = self.anchors[index - 1], self.anchors[index]
        return b0 + (time_s - t0) * (b1 - b0) / (t1 - t0)

    def time_at(self, beat: float) -> float:
        """Seconds from the start of the recording, at a beat of the grid."""
        index = min(max(bisect_right([b for _, b in self.anchors], beat), 1), len(self.anchors) - 1)
        (t0, b0), (t1, b1) = self.anchors[index - 1], self.anchors[index]
        return t0 + (beat - b0) * (t1 - t0) / (b1 - b0)

    @property
    def tempi(self) -> list[tuple[float, float, float]]:
        """Changes of tempo: seconds, beats from the start of the grid, beats per minute from there on."""
        return [(t0, b0, 60.0 * (b1 - b0) / (t1 - t0)) for (t0, b0), (t1, b1) in pairwise(self.anchors)]


def _starts(beats_s: Sequence[float], downbeats_s: Sequence[float]) -> list[int]:
    """Which of the beats start a bar."""
    found = set()
    for time in downbeats_s:
        after = bisect_right(beats_s, time)
        near = range(max(after - 1, 0), min(after + 1, len(beats_s)))
        found.add(min(near, key=lambda index: abs(beats_s[index] - time)))
    return sorted(found)


def _usual_bar(starts: Sequence[int]) -> int | None:
    lengths = [after - here for here, after in pairwise(starts)]
    return max(set(lengths), key=lengths.count) if lengths else None


def _lead_in(beats_s: Sequence[float], start: int | None, bar: int) -> tuple[int, int]:
    """Which beat the grid first goes through, and how many beats lie before it.

    The earliest would be best, but the closer it is to the start of the recording the more absurd the tempo
    before it: then a later one of the first bar is taken. Skipping a beat weighs like doubling the tempo.
    """
    span = min(len(beats_s), 2 * bar + 1)
    period = (beats_s[span - 1] - beats_s[0]) / (span - 1)
    best = (math.inf, 0, 1)
    for skipped in range(min(bar + 1, len(beats_s) - 1)):
        if beats_s[skipped] <= 0:
            continue
        near = beats_s[skipped] / period
        for before in range(max(round(near) - bar, 1), round(near) + bar + 1):
            if start is not None and (before + start - skipped) % bar:
                continue
            best = min(best, (abs(math.log2(near / before)) + skipped, skipped, before))
    return best[1], best[2]


def _bars(starts: Sequence[int], usual: int) -> list[Bar]:
    """Bars from the start of the grid; those before the first downbeat count back from it."""
    bars = [Bar(0, usual)]
    for here, after in pairwise(starts):
        if after - here != bars[-1].beats:
            bars.append(Bar(here, after - here))
    return bars


def _fewer(anchors: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Leave out anchors that straight lines between the others pass within the tolerance.

    From each anchor the line is drawn as far as the cone of slopes allows that all anchors between leave open
    (O'Rourke 1981, "An on-line algorithm for fitting straight lines between data ranges").
    """
    kept = [anchors[0]]
    least, most = 0.0, math.inf
    for before, (time, beat) in pairwise(anchors):
        t0, b0 = kept[-1]
        if not least <= (time - t0) / (beat - b0) <= most:
            kept.append(before)
            t0, b0 = before
            least, most = 0.0, math.inf
        least = max(least, (time - _TOLERANCE_S - t0) / (beat - b0))
        most = min(most, (time + _TOLERANCE_S - t0) / (beat - b0))
    return kept if anchors[-1] == kept[-1] else [*kept, anchors[-1]]
