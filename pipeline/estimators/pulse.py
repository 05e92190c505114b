"""Which tempi a recording allows, and how likely each is. Shared by tempo and beats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.estimators.bars import Bars, count_bars, first_beat_odds, moves
from pipeline.estimators.harmony import Harmony
from pipeline.estimators.onsets import FRAME_RATE, Onsets
from pipeline.estimators.tracking import (
    FASTEST_BPM,
    SLOWEST_BPM,
    FloatCurve,
    autocorrelation,
    local_tempo,
    off_beats,
    refine,
    repetition,
    steady_bpm,
    strongest,
    track,
)

SAME_OCTAVES = 0.06
"""Tempi less than 4 % apart are one."""
FEWEST_BEATS, ENOUGH_BEATS = 4, 8
"""Onsets on beats that it takes to speak of a tempo, and to be as sure of it as after many."""
PREFERRED_BPM, PREFERRED_OCTAVES = 127.0, 0.55
"""Mean and deviation of the prior."""
ENOUGH_S = 8.0
"""Four bars at 120 BPM: a shorter clip repeats too little to tell one level of the metre from another."""
FAINTEST_ONSET = 0.2
"""Below, curves hold the ripple of held tones only: onsets of music are typically 1 to 3."""
NOISE_SALIENCE = 0.25
"""Salience that noise of one second reaches by chance; falls with the root of the length."""
CLEAR_SALIENCE = 0.3
"""Salience above chance from which nobody doubts that there is a beat."""

FAINT_CHANGE = 0.01
"""Change of harmony that a held chord shows by chance: from chord to chord it is ten times that."""
HARMONY_PHASE = 1.5
"""How much a change of harmony on the beat counts for it, relative to accents: fitted, and rounded."""
BAR_EVIDENCE, UNCOMMON_BARS = 3.0, 1.0
"""How much a tempo gains that makes bars, and loses where their size is uncommon: fitted, and rounded."""
ACCENTS_ALONE = 0.5
"""How much the loudness of beats counts for a tempo where harmony says nothing."""

_GRID_BPM = np.geomspace(SLOWEST_BPM, FASTEST_BPM, 600)
_PEAKS = 6
_RELATIVES = (2.0, 0.5, 3.0, 1 / 3, 1.5, 2 / 3)


@dataclass(frozen=True, slots=True)
class Pulse:
    """Beats at one tempo, and what speaks for them.

    Attributes:
        bpm: tempo, refined over spans of `SPAN_BEATS` beats.
        salience: -1..1, autocorrelation at the beat and at the bars it would form.
        on: 0..1, share of beats that carry an onset.
        off: 0..1, share of midpoints or of thirds between beats that carry one, the larger.
        heard: number of beats that carry an onset.
        beats: float64 (beats,) frames.
        phase: log probability that these are the beats, rather than what lies between them.
        bars: the beats counted.
        moves: whether harmony changes at all, and so tells beats and bars.
    """

    bpm: float
    salience: float
    on: float
    off: float
    heard: float
    beats: FloatCurve
    phase: float
    bars: Bars
    moves: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """A pulse among the others that the same recording allows.

    Attributes:
        pulse: tempo and evidence.
        probability: 0..1, given that there is a beat at all.
    """

    pulse: Pulse
    probability: float


def salience(correlation: FloatCurve, bpm: FloatCurve) -> FloatCurve:
    """How strongly onsets repeat at a beat and at the groups of two or of three beats above it.

    Asking for 1, 2, 4 *or* 1, 3, 6 beats, not for every multiple, keeps a waltz from being read at
    two thirds of its tempo.

    Args:
        correlation: float64 (lags,) from `autocorrelation`.
        bpm: float64 (tempi,).

    Returns:
        float64 (tempi,) -1..1.
    """
    at = [repetition(correlation, 60 * FRAME_RATE / bpm, (n,)) for n in (1, 2, 4, 3, 6)]
    return np.asarray((at[0] + np.maximum(at[1] + at[2], at[3] + at[4])) / 3)


def candidates(correlation: FloatCurve) -> list[float]:
    """Tempi worth a closer look: the peaks of salience and their octaves, thirds and fifths, in BPM."""
    curve = salience(correlation, _GRID_BPM)
    inner = np.flatnonzero((curve[1:-1] >= curve[:-2]) & (curve[1:-1] > curve[2:]) & (curve[1:-1] > 0)) + 1
    peaks = [float(_GRID_BPM[i]) for i in sorted(inner, key=lambda i: -curve[i])[:_PEAKS]]
    kept: list[float] = []
    for bpm in peaks + [peak * ratio for peak in peaks[:4] for ratio in _RELATIVES]:
        if SLOWEST_BPM <= bpm <= FASTEST_BPM and not any(_same(bpm, other) for other in kept):
            kept.append(bpm)
    return kept


def readings(found: Onsets, harmony: Harmony) -> list[Reading]:
    """Every way to read the beat, most likely first, down to half and double of the first.

    Returns:
        Readings whose probabilities add up to 1; empty where nothing repeats.
    """
    if found.typical < FAINTEST_ONSET:
        return []
    correlation = autocorrelation(found.accents)
    pulses = [_pulse(found, harmony, correlation, bpm) for bpm in candidates(correlation)]
    kept = [pulse for pulse in pulses if pulse is not None]
    if not kept:
        return []
    first = _weigh(kept)[0].pulse
    for bpm in (first.bpm / 2, first.bpm * 2):
        known = any(_same(bpm, pulse.bpm) for pulse in kept)
        if not known and SLOWEST_BPM <= bpm <= FASTEST_BPM:
            octave = _pulse(found, harmony, correlation, bpm)
            kept += [octave] if octave is not None else []
    return _weigh(kept)


def phases(found: Onsets, harmony: Harmony, bpm: float | FloatCurve) -> list[tuple[FloatCurve, float]]:
    """Beats at a tempo, and what lies halfway between them, each with its log probability.

    Off-beats may be louder than beats, as the guitar's in reggae; harmony changes on the beat.

    Returns:
        float64 (beats,) frames and log probability: of the beats tracked, then of the others; empty
        where there are too few.
    """
    accents = found.accents
    tracked = refine(accents, track(accents, bpm))
    if len(tracked) < FEWEST_BEATS:
        return []
    shifted = off_beats(accents, tracked)
    both = [beats for beats in (tracked, shifted) if len(beats) >= FEWEST_BEATS]
    score = np.array([_contrast(found, harmony, beats) for beats in both])
    score -= np.logaddexp.reduce(score)
    return [(beats, float(each)) for beats, each in zip(both, score, strict=True)]


def bars_of(found: Onsets, harmony: Harmony, beats: FloatCurve) -> Bars:
    """Count beats, float64 (>= 2,) frames, into bars."""
    return count_bars(first_beat_odds(harmony.changes(beats / FRAME_RATE), strongest(found.low, beats)))


def _contrast(found: Onsets, harmony: Harmony, beats: FloatCurve) -> float:
    """How much more happens on beats than halfway between them."""
    between = (beats[1:] + beats[:-1]) / 2
    loud, soft = (float(strongest(found.accents, at).mean()) for at in (beats, between))
    change, other = (float(harmony.changes(at / FRAME_RATE)[:, 0].mean()) for at in (beats, between))
    harmonic = np.log((FAINT_CHANGE + change) / (FAINT_CHANGE + other))
    return float(np.log((0.1 + loud) / (0.1 + soft)) + HARMONY_PHASE * harmonic)


def clarity(found: list[Reading], duration_s: float) -> float:
    """How clearly anything repeats, 0 for noise to 1 for a drum machine.

    The autocorrelation of noise scatters with the square root of its length, so a short recording
    has to show more, and one of a bar or two leaves open what repeats.
    """
    best = max((reading.pulse.salience for reading in found), default=0.0)
    heard = max((reading.pulse.heard for reading in found), default=0.0)
    chance = NOISE_SALIENCE / np.sqrt(max(duration_s, 1.0))
    clear = np.clip((best - chance) / CLEAR_SALIENCE, 0.0, 1.0)
    return float(clear * min(heard / ENOUGH_BEATS, 1.0) * min(duration_s / ENOUGH_S, 1.0))


def _same(bpm: float, other: float) -> bool:
    return bool(abs(np.log2(bpm / other)) < SAME_OCTAVES)


def _pulse(found: Onsets, harmony: Harmony, correlation: FloatCurve, bpm: float) -> Pulse | None:
    """Track beats at a tempo and look at what lies on them; None where too few carry an onset."""
    presence = found.presence
    tried = phases(found, harmony, local_tempo(found.accents, bpm))
    if not tried:
        return None
    beats = tried[0][0]
    heard = float(presence[np.clip(np.rint(beats), 0, len(presence) - 1).astype(np.intp)].sum())
    if heard < FEWEST_BEATS - 0.5:
        return None
    exact = steady_bpm(beats)
    thirds = (on_beats(presence, beats, 1 / 3) + on_beats(presence, beats, 2 / 3)) / 2
    alike = float(salience(correlation, np.array([exact]))[0])
    on, off = on_beats(presence, beats), max(on_beats(presence, beats, 1 / 2), thirds)
    telling = moves(harmony.changes(beats / FRAME_RATE))
    either = [
        Pulse(exact, alike, on, off, heard, beats, phase, bars_of(found, harmony, beats), telling)
        for beats, phase in tried
    ]
    return max(either, key=lambda pulse: (_metrical(pulse), pulse.phase))


def _metrical(pulse: Pulse) -> float:
    """What harmony says for a pulse, in log odds: it changes on beats, and on the first of every bar.

    Little in drums alone: hats between beats are a weak argument against a tempo, and bars of kicks
    are found at every tempo.
    """
    if not pulse.moves:
        return ACCENTS_ALONE * pulse.phase
    return pulse.phase + BAR_EVIDENCE * pulse.bars.evidence - UNCOMMON_BARS * pulse.bars.uncommon


def on_beats(presence: FloatCurve, beats: FloatCurve, part: float = 0.0) -> float:
    """Share of beats, or of places a part of the way to the next beat, that carry an onset.

    Args:
        presence: float64 (frames,) of `Onsets.presence`.
        beats: float64 (>= 2,) frames.
        part: 0 on the beat .. 1 on the next.
    """
    places = np.rint(beats[:-1] + part * np.diff(beats)).astype(np.intp)
    return float(presence[np.clip(places, 0, len(presence) - 1)].mean())


def _weigh(pulses: list[Pulse]) -> list[Reading]:
    """Turn pulses into probabilities by a log-linear model.

    Listeners tap near 2 Hz (the prior); a beat repeats itself and its bars (salience), carries an
    onset (on), explains many onsets (on times rate) and is subdivided (off, up to a point); harmony
    changes on it (phase), and on the first of every so many (bars). Weights were fitted to 28 tracks
    and rounded.
    """
    strongest = max([1e-9, *(pulse.salience for pulse in pulses)])
    score = np.array(
        [
            -0.5 * (np.log2(pulse.bpm / PREFERRED_BPM) / PREFERRED_OCTAVES) ** 2
            + 4.0 * pulse.salience / strongest
            + 6.5 * pulse.on
            + 1.5 * pulse.on * pulse.bpm / 60
            + 3.5 * min(pulse.off, 0.6)
            + _metrical(pulse)
            for pulse in pulses
        ]
    )
    weight = np.exp(score - score.max())
    weight /= weight.sum()
    order = np.argsort(-weight, kind="stable")
    found = [Reading(pulses[i], float(weight[i])) for i in order]
    # Two searches may have met in one tempo: keep it once, with the probability of both.
    merged: list[Reading] = []
    for reading in found:
        twin = next((k for k, other in enumerate(merged) if _same(reading.pulse.bpm, other.pulse.bpm)), None)
        if twin is None:
            merged.append(reading)
        else:
            merged[twin] = Reading(merged[twin].pulse, merged[twin].probability + reading.probability)
    return sorted(merged, key=lambda reading: -reading.probability)
