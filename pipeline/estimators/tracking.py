"""Beats at a given tempo: repetition in onset strength, drift, and where the beats lie."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.estimators.onsets import FRAME_RATE

SLOWEST_BPM, FASTEST_BPM = 40.0, 250.0
TIGHTNESS = 300.0
"""Accents that a beat has to gain to be worth an interval e times too long or too short."""

SPAN_BEATS = 16
"""Beats that a line is fitted to for the tempo: four bars, over which players hold it."""

LOCAL_WINDOW_S, LOCAL_HOP_S = 8.0, 1.0
LOCAL_OCTAVES = 0.55
"""How far the tempo may move away from that of the whole: short of a half, log2(3/2) = 0.585."""
LOCAL_STEPS = 30
STAY_COST, CHANGE_COST = 0.7, 3.0
"""Autocorrelation that it takes to be an octave away from the whole, and from a second ago."""

SNAP_FRAMES, SNAP_ACCENT = 4, 0.5
"""How far off-beats are moved to an onset, and how clear that has to be."""

_LONGEST_LAG_S = 6 * 60 / SLOWEST_BPM
_FRAMES_PER_BLOCK = 1 << 16

FloatCurve = npt.NDArray[np.float64]


def autocorrelation(accents: FloatCurve) -> FloatCurve:
    """Unbiased autocorrelation, 1 at lag 0: float64 (lags,) up to six beats of the slowest tempo.

    Lags beyond three quarters of the signal are zero: too little overlaps.
    """
    frames = len(accents)
    lags = min(int(_LONGEST_LAG_S * FRAME_RATE) + 2, max(int(0.75 * frames), 1))
    raw = _correlated(accents - accents.mean(), lags)
    if raw[0] <= 0:
        return np.zeros(lags)
    return np.asarray(raw / raw[0] * frames / (frames - np.arange(lags)))


def _correlated(curve: FloatCurve, lags: int) -> FloatCurve:
    """Sums of the products of what lies a lag apart: float64 (lags,)."""
    from scipy.signal import correlate

    if len(curve) <= _FRAMES_PER_BLOCK:
        return np.asarray(np.fft.irfft(np.square(np.abs(np.fft.rfft(curve, 2 * len(curve)))))[:lags])
    raw = np.zeros(lags)
    for start in range(0, len(curve), _FRAMES_PER_BLOCK):
        block = curve[start : start + _FRAMES_PER_BLOCK]
        later = curve[start : start + len(block) + lags - 1]
        raw += correlate(np.pad(later, (0, len(block) + lags - 1 - len(later))), block, "valid", "fft")
    return raw


def repetition(correlation: FloatCurve, period: FloatCurve, multiples: tuple[int, ...]) -> FloatCurve:
    """Mean autocorrelation at multiples of each period.

    Args:
        correlation: float64 (lags,) from `autocorrelation`.
        period: float64 (tempi,) frames.
        multiples: of the period.

    Returns:
        float64 (tempi,) -1..1.
    """
    lags = np.arange(len(correlation))
    # The best within 1 %: beats are played by people, and lags are whole frames.
    near = np.linspace(0.99, 1.01, 5)[:, None]
    at = [np.interp(period * n * near, lags, correlation, right=0.0).max(axis=0) for n in multiples]
    return np.asarray(np.mean(at, axis=0))


def local_tempo(accents: FloatCurve, bpm: float) -> FloatCurve:
    """Follow a tempo through accelerations and new sections.

    Every `LOCAL_HOP_S` the tempo that fits the surrounding `LOCAL_WINDOW_S` best is weighed against
    staying close to its neighbours, by a Viterbi search.

    Args:
        accents: float64 (frames,).
        bpm: tempo of the whole; the local one stays within 2 ** `LOCAL_OCTAVES` of it, too close for
            another level of the metre.

    Returns:
        float64 (frames,) BPM.
    """
    ratios = 2 ** np.linspace(-LOCAL_OCTAVES, LOCAL_OCTAVES, 2 * LOCAL_STEPS + 1)
    distance = np.abs(np.log2(ratios))
    change = np.abs(np.log2(ratios[:, None] / ratios))
    size, hop = round(LOCAL_WINDOW_S * FRAME_RATE), round(LOCAL_HOP_S * FRAME_RATE)
    padded = np.pad(accents, size // 2)
    score, back = -STAY_COST * distance, []
    starts = np.arange(0, len(accents), hop)
    for start in starts:
        correlation = autocorrelation(padded[start : start + size])
        evidence = repetition(correlation, 60 * FRAME_RATE / (bpm * ratios), (1, 2, 3, 4))
        options = score - CHANGE_COST * change
        back.append(options.argmax(axis=1))
        score = options.max(axis=1) + evidence - STAY_COST * distance
    path = [int(score.argmax())]
    for pointer in back[:0:-1]:
        path.append(int(pointer[path[-1]]))
    return np.asarray(np.interp(np.arange(len(accents)), starts, bpm * ratios[path[::-1]]))


def track(accents: FloatCurve, bpm: float | FloatCurve) -> npt.NDArray[np.intp]:
    """Place beats so that accents and an even tempo agree best, by dynamic programming.

    The cost of an interval is that of Ellis, "Beat tracking by dynamic programming" (JNMR 36, 2007).

    Args:
        accents: float64 (frames,).
        bpm: tempo to hold on to, one or float64 (frames,); intervals of half to double its period
            are possible.

    Returns:
        intp (beats,) frames, rising.
    """
    frames = len(accents)
    if not frames:
        return np.zeros(0, dtype=np.intp)
    periods = 60 * FRAME_RATE / np.broadcast_to(bpm, frames)
    reach = round(2 * float(periods.max())) + 1
    # Before the start lies a stretch with a score of zero: a beat without predecessor.
    score = np.zeros(reach + frames)
    back = np.full(frames, -1, dtype=np.intp)
    start = 0
    while start < frames:
        # No interval is shorter than half a period, so that many frames depend on earlier ones alone
        # and are solved at once.
        period = float(periods[start])
        intervals = np.arange(round(2 * period), max(round(period / 2), 1) - 1, -1)
        stop = min(start + int(intervals[-1]), frames)
        first = reach + start - int(intervals[0])
        window = score[first : first + stop - start + len(intervals) - 1]
        options = np.lib.stride_tricks.sliding_window_view(window, len(intervals))
        options = options - TIGHTNESS * np.square(np.log(intervals / period))
        best = options.argmax(axis=1)
        here = np.arange(start, stop)
        score[reach + start : reach + stop] = accents[start:stop] + options[here - start, best]
        back[start:stop] = here - intervals[best]
        start = stop
    last = max(frames - round(float(periods[-1])), 0)
    at = last + int(np.argmax(score[reach + last :]))
    beats: list[int] = []
    while at >= 0:
        beats.append(at)
        at = int(back[at])
    return np.array(beats[::-1], dtype=np.intp)


def refine(accents: FloatCurve, beats: npt.NDArray[np.intp]) -> FloatCurve:
    """Move beats to the tops of the onsets they sit on, between frames: float64 (beats,) frames."""
    inner = np.clip(beats, 1, max(len(accents) - 2, 1))
    if len(accents) < 3:
        return beats.astype(np.float64)
    left, top, right = accents[inner - 1], accents[inner], accents[inner + 1]
    bend = left - 2 * top + right
    peak = (top >= left) & (top >= right) & (bend < 0)
    shift = np.where(peak, 0.5 * (left - right) / np.where(peak, bend, 1.0), 0.0)
    return np.asarray(beats + shift)


def off_beats(accents: FloatCurve, beats: FloatCurve) -> FloatCurve:
    """What lies halfway between beats, moved to an onset there: float64 (beats - 1,) frames."""
    middle = np.rint((beats[1:] + beats[:-1]) / 2).astype(np.intp)
    near = np.clip(middle[:, None] + np.arange(-SNAP_FRAMES, SNAP_FRAMES + 1), 0, max(len(accents) - 1, 0))
    best = accents[near].argmax(axis=1)
    at = near[np.arange(len(near)), best]
    return refine(accents, np.where(accents[at] > SNAP_ACCENT, at, middle))


def strongest(curve: FloatCurve, places: FloatCurve) -> FloatCurve:
    """Largest value within 20 ms of each place in frames: float64 (places,)."""
    near = np.rint(places).astype(np.intp)[:, None] + np.arange(-2, 3)
    return np.asarray(curve[np.clip(near, 0, len(curve) - 1)].max(axis=1))


def local_bpm(beats: FloatCurve) -> tuple[FloatCurve, FloatCurve]:
    """Tempo around every moment, as the slopes of lines through `SPAN_BEATS` beats each.

    Args:
        beats: float64 (>= 2,) frames.

    Returns:
        float64 (spans,) middle of each line in frames, and its BPM.
    """
    size = min(SPAN_BEATS, len(beats))
    spans = np.lib.stride_tricks.sliding_window_view(beats, size)
    index = np.arange(size) - (size - 1) / 2
    slopes = spans @ index / np.square(index).sum()
    return np.asarray(spans.mean(axis=1)), np.asarray(60 * FRAME_RATE / slopes)


def steady_bpm(beats: FloatCurve) -> float:
    """Tempo as the median over `local_bpm`.

    A line averages out what single onsets are early or late; the median ignores spans with a beat
    too many.

    Args:
        beats: float64 (>= 2,) frames.
    """
    return float(np.median(local_bpm(beats)[1]))
