"""A chord chart in plain text, as musicians write it."""

from __future__ import annotations

import numpy as np

from pipeline.annotations import ChordSegment
from pipeline.chord_names import chord_name
from pipeline.estimators.chord_templates import NO_CHORD
from pipeline.estimators.grid import Steps

AGAIN = "%"
BARS_PER_LINE = 4


def chart(segments: list[ChordSegment], grid: Steps) -> str:
    """Write chords down, four bars a line where bars are known, else a chord a line with its time.

    Args:
        segments: consecutive.
        grid: the steps that they were estimated on.

    Returns:
        Lines such as ``0:04 | C | Am7 G/B | % | F |``; empty without a chord.
    """
    if all(one.label == NO_CHORD for one in segments):
        return ""
    return _by_bars(segments, grid) if grid.bars else _by_time(segments)


def _by_time(segments: list[ChordSegment]) -> str:
    return "\n".join(f"{_clock(one.start_s)} {chord_name(one.label)}" for one in segments)


def _by_bars(segments: list[ChordSegment], grid: Steps) -> str:
    starts = grid.edges_s[:-1][grid.rank == 2]
    if starts[0] > grid.edges_s[0]:
        starts = np.concatenate([grid.edges_s[:1], starts])  # a bar that was not played from its start
    stops = np.append(starts[1:], grid.edges_s[-1])
    at, before, bars = 0, "", []
    for start, stop in zip(starts, stops, strict=True):
        while segments[at].end_s <= start + 1e-3 and at + 1 < len(segments):
            at += 1
        inside = [chord_name(one.label) for one in _until(segments, at, float(stop))]
        bar = " ".join(inside)
        bars.append(AGAIN if bar == before else bar)
        before = bar
    lines = range(0, len(bars), BARS_PER_LINE)
    return "\n".join(
        f"{_clock(float(starts[i]))} | " + " | ".join(bars[i : i + BARS_PER_LINE]) + " |" for i in lines
    )


def _until(segments: list[ChordSegment], at: int, stop: float) -> list[ChordSegment]:
    found = []
    while at < len(segments) and segments[at].start_s < stop - 1e-3:
        found.append(segments[at])
        at += 1
    return found


def _clock(time_s: float) -> str:
    return f"{int(time_s) // 60}:{int(time_s) % 60:02d}"
