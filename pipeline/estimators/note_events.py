"""From frame-wise probabilities to notes with a start and an end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.audio import release
from pipeline.estimators.transcription import Byte, Heard
from pipeline.scratch import scratch_array

_ONSET: Final = 153
"""0.6 in bytes: on the development set the notes of separated stems are found best from here on."""
_SUSTAIN: Final = 76
"""0.3 in bytes, as in Basic Pitch."""
_GAP_S: Final = 0.13
"""A note that is not heard for so long has ended: Basic Pitch's 11 frames."""
_SHORTEST_S: Final = 0.07
_MOST_SHARED: Final = 0.5
"""Of a note's time, that a louder one of a single voice may take before it counts as its echo."""
_PARTIALS: Final = (12, 19, 24, 28, 31, 34, 36)
"""Semitones from a tone to its second to eighth partial."""
_TOGETHER_S: Final = 0.035
_LESS_SURE: Final = 0.9
_FIRST_STEP: Final = 256
_BLOCK_FRAMES: Final = 4096
"""Held in memory at a time: three quarters of a minute."""


@dataclass(frozen=True, slots=True)
class Event:
    """A note, in frames.

    Attributes:
        start: first frame.
        stop: frame after the last.
        key: 0 for the lowest of the piano.
        probability: 0..1, mean over its frames.
    """

    start: int
    stop: int
    key: int
    probability: float


def find_notes(heard: Heard, scratch: Path) -> list[Event]:
    """Find all notes, however many sound at once.

    A note starts where a beginning is sure enough and lasts until the key has not been heard for a while.
    Latest first, so that a key that is struck again ends the note before it.

    Args:
        heard: of `transcribe`.
        scratch: folder for what grows with the recording.

    Returns:
        Notes in order of time.

    Raises:
        DiskFull: no space left.
    """
    frames = len(heard.notes)
    gap = max(round(_GAP_S / heard.frame_s), 2)
    shortest = max(round(_SHORTEST_S / heard.frame_s), 2)
    rest = scratch_array(scratch, heard.notes.shape, np.uint8)
    for first in range(0, frames, _BLOCK_FRAMES):
        rest[first : first + _BLOCK_FRAMES] = heard.notes[first : first + _BLOCK_FRAMES]
        _release(rest, heard)
    events = []
    for block in _beginnings(heard):
        for start, key in block:
            stop = _stop(rest[:, key], start + 1, gap)
            if stop - start < shortest or start >= frames - 1:
                continue
            # The same sound must not make notes on the neighbouring keys as well.
            rest[start:stop, max(key - 1, 0) : key + 2] = 0
            events.append(Event(start, stop, key, float(heard.notes[start:stop, key].mean()) / 255))
        _release(rest, heard)
    return sorted(events, key=lambda event: (event.start, event.key))


def _release(rest: Byte, heard: Heard) -> None:
    for array in (rest, heard.notes, heard.onsets):
        release(array)


def without_overtones(events: list[Event], frame_s: float) -> list[Event]:
    """Drop notes that are but partials of another: struck with it, less sure, and gone before it.

    Args:
        events: of `find_notes`.
        frame_s: seconds from frame to frame.
    """
    near = max(round(_TOGETHER_S / frame_s), 1)
    struck: dict[tuple[int, int], Event] = {(event.key, event.start): event for event in events}

    def is_partial(event: Event) -> bool:
        for interval in _PARTIALS:
            for start in range(event.start - near, event.start + near + 1):
                below = struck.get((event.key - interval, start))
                if below is None or event.stop > below.stop + 2:
                    continue
                if event.probability < _LESS_SURE * below.probability:
                    return True
        return False

    return [event for event in events if not is_partial(event)]


def single_voice(events: list[Event], frames: int) -> list[Event]:
    """Keep what one voice can sing or play: the surest notes, each up to the next.

    Args:
        events: of `find_notes`.
        frames: length of the recording.
    """
    taken = np.zeros(frames, dtype=bool)
    kept = []
    for event in sorted(events, key=lambda event: -event.probability):
        if taken[event.start : event.stop].mean() <= _MOST_SHARED:
            taken[event.start : event.stop] = True
            kept.append(event)
    kept.sort(key=lambda event: event.start)
    followers = [*(event.start for event in kept[1:]), frames][: len(kept)]
    return [
        Event(event.start, max(min(event.stop, after), event.start + 1), event.key, event.probability)
        for event, after in zip(kept, followers, strict=True)
    ]


def _beginnings(heard: Heard) -> Iterator[list[tuple[int, int]]]:
    """Frames and keys at which notes begin, latest first, in stretches of time.

    Besides those that the network tells of, where a key becomes surer within two frames: a soft attack.
    """
    firsts = range(0, len(heard.notes), _BLOCK_FRAMES)
    strongest, steepest = 0, 0
    for first in firsts:
        stop = first + _BLOCK_FRAMES
        strongest = max(strongest, int(heard.onsets[first:stop].max()))
        steepest = max(steepest, int(_rise(heard.notes, first, stop).max()))
        release(heard.notes)
        release(heard.onsets)
    scale = strongest / max(steepest, 1)
    for first in reversed(firsts):
        stop = first + _BLOCK_FRAMES
        # A peak is higher than the frame before it and no lower than the one after.
        rise = _rise(heard.notes, first - 1, stop + 1).astype(np.float32) * scale
        curve = np.maximum(_rows(heard.onsets, first - 1, stop + 1), rise)
        now = curve[1:-1]
        peaks = np.argwhere((now > curve[:-2]) & (now >= curve[2:]) & (now >= _ONSET))
        yield [(first + frame, key) for frame, key in peaks[::-1].tolist()]


def _rise(notes: Byte, first: int, stop: int) -> npt.NDArray[np.int16]:
    """How much surer each key has become over one and over two frames, the lesser: int16 (frames, keys)."""
    now = _rows(notes, first - 2, stop).astype(np.int16)
    return np.asarray(np.maximum(np.minimum(now[2:] - now[1:-1], now[2:] - now[:-2]), 0))


def _rows(array: Byte, first: int, stop: int) -> Byte:
    """Frames ``first..stop``; before the recording and after it nothing sounds."""
    inside = array[max(first, 0) : min(max(stop, 0), len(array))]
    above = min(max(-first, 0), stop - first)
    return np.pad(inside, ((above, stop - first - above - len(inside)), (0, 0)))


def _stop(column: Byte, start: int, gap: int) -> int:
    """Where a key has not been heard for ``gap`` frames: the first of them, or the end."""
    size = _FIRST_STEP
    while True:
        heard_not = column[start : start + size] < _SUSTAIN
        counted = np.concatenate([[0], np.cumsum(heard_not)])
        silent = np.flatnonzero(counted[gap:] - counted[:-gap] == gap)
        if len(silent):
            return start + int(silent[0])
        if start + size >= len(column):
            still = np.flatnonzero(~heard_not)
            return start + (int(still[-1]) + 1 if len(still) else 0)
        size *= 2
