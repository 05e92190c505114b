"""Notes without a network: for machines on which that of `transcription` is not installed.

Single voices by autocorrelation (de Cheveigné and Kawahara, "YIN, a fundamental frequency estimator for
speech and music", JASA 111, 2002), several at once by what harmonic tones explain from onset to onset.
On lone stems, rendered from the parts of 14 tracks of the development set, onsets are found with F .91 for
the bass, .71 for a melody in place of the vocals, .67 for all other instruments together.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.annotations import Note, PitchCurve
from pipeline.audio import Audio, FloatArray
from pipeline.estimators.base import ANALYSIS_RATE, Recording
from pipeline.estimators.onsets import FRAME_RATE, Onsets, onsets
from pipeline.estimators.path import best_path
from pipeline.estimators.pitches import LOWEST_PITCH, pitches
from pipeline.estimators.tuning import pitch_classes, tuning

METHOD: Final = (
    "autocorrelation for bass and vocals, harmonic tones from onset to onset for others; "
    "band-wise onsets for drums"
)
VERSION: Final = "plain-1"

_RATES: Final = {"bass": ANALYSIS_RATE // 2, "vocals": ANALYSIS_RATE}
_SPANS: Final = {"bass": (24, 60), "vocals": (36, 88)}
"""MIDI numbers that each can play or sing."""
_WINDOW: Final = 1024
_STEP_S: Final = 256 / ANALYSIS_RATE
_FRAMES_PER_BLOCK: Final = 512
_FRAMES_PER_PIECE: Final = 16 * _FRAMES_PER_BLOCK
"""95 s: what is known of every semitone at once would fill the memory over hours."""
_TINY: Final = 1e-12
_NO_PITCH: Final = 0.75
"""Periodicity that the silence between notes is worth: breath and bleed have less."""
_PER_OCTAVE: Final = 0.03
"""What an octave higher is worth: two periods fit as well as one."""
_CHANGE: Final = 1.2
"""Periodicity, summed over frames, that another note has to fit better by."""
_QUIET_DB: Final = -40.0
_SHORTEST_S: Final = 0.06
_NEAR_S: Final = 0.06
"""A note begins with an onset so near to where its pitch is first found."""
_STRUCK: Final = 0.5
"""Onset strength that begins a note, of a typical one."""
_ATTACK, _LOUDER = 6, 1.4
"""Frames before and after an onset, within which the level of a note that is struck again rises by 3 dB."""
_MOST_SURE: Final = 0.6
"""Confidence of notes that could not be clearer: the network's notes are right more often."""

_AUDIBLE, _KEPT = 0.5, 0.15
"""Of the strongest tone between two onsets: what begins a note, and what lets it go on."""
_FAINT: Final = 0.3
"""Of the strongest tones of the stem, that a note has to have."""
_ATTACK_S: Final = 0.06
"""After an onset, in which the tones before it still fill the window."""
_NO_TUNING: Final = 0.03
"""Agreement on a tuning that noise and drums do not reach: see `pipeline.estimators.tuning`."""
_SPREAD, _CLEAR = 0.3, 0.8
"""Share of all tones' strength that notes take up, where there is hardly a pitch, and in a lone voice."""

FloatCurve = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Plain:
    """What was found in a stem.

    Attributes:
        notes: in order of time.
        confidence: 0.._MOST_SURE.
        pitch: of the vocals.
    """

    notes: tuple[Note, ...]
    confidence: float
    pitch: PitchCurve | None = None


def plain_notes(recording: Recording, name: str, cents: float) -> Plain:
    """Find the notes of a stem other than drums.

    Args:
        recording: the mix and its stems.
        name: of the stem.
        cents: deviation of the recording from A4 = 440 Hz.
    """
    struck = onsets(recording.mono(name))
    if name in _RATES:
        return _single(recording, name, cents, struck)
    return _several(recording.mono(name), cents, struck)


def _single(recording: Recording, name: str, cents: float, struck: Onsets) -> Plain:
    audio = recording.mono(name, _RATES[name])
    lowest, highest = _SPANS[name]
    tones = 440.0 * 2 ** ((np.arange(lowest, highest + 1) - 69) / 12 + cents / 1200)
    level = _levels(audio)
    if not level.any():
        return Plain((), 0.0)
    loud = float(np.percentile(level[level > 0], 95))
    quiet = level < loud * 10 ** (_QUIET_DB / 20)
    frames, none = len(level), len(tones)
    states = np.full(frames, none)
    hz, clear = np.zeros(frames, dtype=np.float32), np.zeros(frames)
    for first in range(0, frames, _FRAMES_PER_PIECE):
        here = slice(first, min(first + _FRAMES_PER_PIECE, frames))
        periodic, heard_hz = _periodicity(audio, here, tones)
        periodic[quiet[here]] = 0.0
        fits = np.hstack([periodic, np.full((len(periodic), 1), _NO_PITCH)])
        states[here] = chosen = best_path(fits, np.full(len(fits), _CHANGE))
        clear[here] = np.take_along_axis(fits, chosen[:, None], 1)[:, 0]
        hz[here] = np.take_along_axis(np.pad(heard_hz, ((0, 0), (0, 1))), chosen[:, None], 1)[:, 0]
    begun = _beginnings(struck, frames)
    notes, sure = [], []
    for start, stop in _runs(
        states, none, [at for at in begun.tolist() if name == "bass" or _rises(level, at)]
    ):
        first = _nearest(begun, start)
        if (stop - first) * _STEP_S < _SHORTEST_S:
            continue
        attack = float(level[start : start + 8].max()) / loud
        notes.append(
            _note(first * _STEP_S, stop * _STEP_S, lowest + int(states[start]), attack, audio.duration_s)
        )
        sure.append(float(clear[start:stop].mean()))
    if not notes:
        return Plain((), 0.0)
    confidence = _MOST_SURE * float(np.clip((np.mean(sure) - _NO_PITCH) / (1 - _NO_PITCH), 0, 1))
    pitch = PitchCurve(_STEP_S, array("f", hz.tolist())) if name == "vocals" else None
    return Plain(tuple(notes), confidence, pitch)


def _levels(audio: Audio) -> FloatCurve:
    """RMS around every step: float64 (frames,)."""
    hop = round(_STEP_S * audio.sample_rate)
    frames = -(-audio.length // hop)
    out = np.zeros(frames)
    for start in range(0, frames, _FRAMES_PER_PIECE):
        stop = min(start + _FRAMES_PER_PIECE, frames)
        first = start * hop - _WINDOW // 2
        sound = audio.window(first, first + (stop - start - 1) * hop + _WINDOW)[0]
        seen = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW)[::hop]
        out[start:stop] = np.sqrt(np.einsum("ij,ij->i", seen, seen) / _WINDOW)
    return out


def _periodicity(audio: Audio, here: slice, tones: FloatCurve) -> tuple[FloatCurve, FloatArray]:
    """How periodic the sound is at every semitone: YIN's normalised difference, taken from 1.

    Args:
        audio: one channel.
        here: frames, `_STEP_S` apart.
        tones: float64 (semitones,) Hz.

    Returns:
        float64 (frames, semitones), 1 for a perfect period; and of the same shape Hz of the best period
        within the semitone, float32.
    """
    from scipy.fft import irfft, next_fast_len, rfft

    rate = audio.sample_rate
    hop = round(_STEP_S * rate)
    half = 2 ** (0.5 / 12)
    longest = int(np.ceil(rate / tones[0] * half)) + 2
    span = _WINDOW + longest
    size = next_fast_len(span + _WINDOW, real=True)
    clear = np.zeros((here.stop - here.start, len(tones)))
    hz = np.zeros(clear.shape, dtype=np.float32)
    for start in range(here.start, here.stop, _FRAMES_PER_BLOCK):
        stop = min(start + _FRAMES_PER_BLOCK, here.stop)
        rows = slice(start - here.start, stop - here.start)
        first = start * hop - span // 2
        sound = audio.window(first, first + (stop - start - 1) * hop + span)[0].astype(np.float64)
        seen = np.lib.stride_tricks.sliding_window_view(sound, span)[::hop]
        head = rfft(seen[:, :_WINDOW], size, axis=1)
        product = irfft(rfft(seen, size, axis=1) * np.conj(head), size, axis=1)[:, : longest + 1]
        power = np.cumsum(np.pad(np.square(seen), ((0, 0), (1, 0))), axis=1)
        energy = power[:, _WINDOW : _WINDOW + longest + 1] - power[:, : longest + 1]
        difference = np.maximum(energy[:, :1] + energy - 2 * product, 0.0)
        mean = np.cumsum(difference[:, 1:], axis=1) / np.arange(1, longest + 1)
        normal = np.ones_like(difference)
        np.divide(difference[:, 1:], mean, out=normal[:, 1:], where=mean > _TINY)
        for semitone, tone_hz in enumerate(tones.tolist()):
            short, long = rate / (tone_hz * half), rate / tone_hz * half
            # Where periods are short, the parabola finds what lies between two lags.
            near = np.arange(int(np.floor(short)), int(np.ceil(long)) + 1)
            value, lag = _bottom(normal, near[normal[:, near].argmin(axis=1)])
            inside = (lag >= short) & (lag <= long)
            clear[rows, semitone] = np.where(inside, 1 - value + _PER_OCTAVE * (semitone / 12), 0.0)
            hz[rows, semitone] = rate / np.maximum(lag, 1.0)
    return clear, hz


def _bottom(curve: FloatCurve, at: npt.NDArray[np.intp]) -> tuple[FloatCurve, FloatCurve]:
    """Lowest point of the parabola through each place and its neighbours: its value and where it is."""
    row = np.arange(len(curve))
    left, here, right = (curve[row, at + d] for d in (-1, 0, 1))
    bend = left - 2 * here + right
    valley = (here <= left) & (here <= right) & (bend > _TINY)
    shift = np.where(valley, 0.5 * (left - right) / np.where(valley, bend, 1.0), 0.0)
    return np.asarray(np.maximum(here - 0.25 * (left - right) * shift, 0.0)), np.asarray(at + shift)


def _beginnings(struck: Onsets, frames: int) -> npt.NDArray[np.intp]:
    """Onsets that may begin notes, in frames of `_STEP_S`."""
    from scipy.signal import find_peaks

    if struck.typical <= 0:
        return np.zeros(0, dtype=np.intp)
    peaks, _ = find_peaks(struck.full, height=_STRUCK * struck.typical, distance=round(_NEAR_S * FRAME_RATE))
    at: npt.NDArray[np.intp] = np.rint(peaks / FRAME_RATE / _STEP_S).astype(np.intp)
    return at[at < frames]


def _runs(states: npt.NDArray[np.intp], none: int, begun: list[int]) -> list[tuple[int, int]]:
    """Stretches of one pitch, cut where it is struck again: first frame, and the one after the last."""
    shortest = round(_SHORTEST_S / _STEP_S)
    cuts = {0, len(states), *(np.flatnonzero(np.diff(states)) + 1).tolist()}
    for at in begun:
        if all(abs(at - cut) > shortest for cut in cuts):
            cuts.add(at)
    edges = sorted(cuts)
    return [(a, b) for a, b in pairwise(edges) if states[a] != none]


def _rises(level: FloatCurve, at: int) -> bool:
    """Whether the level tells of another attack: the flux of a vibrato is as large, but the level stays."""
    return bool(level[at : at + _ATTACK].max() > _LOUDER * level[max(at - _ATTACK, 0) : at + 1].min())


def _nearest(begun: npt.NDArray[np.intp], frame: int) -> int:
    reach = round(_NEAR_S / _STEP_S)
    near = begun[np.abs(begun - frame) <= reach]
    return int(near[np.abs(near - frame).argmin()]) if len(near) else frame


def _note(start_s: float, stop_s: float, midi: int, level: float, end_s: float) -> Note:
    start = min(max(start_s, 0.0), end_s)
    quieter = 20 * float(np.log10(np.clip(level, 1e-2, 1.0)))
    velocity = int(np.clip(round(110 * (1 + quieter / 40)), 1, 127))
    return Note(round(start, 4), round(min(max(stop_s, start), end_s), 4), midi, velocity)


def _several(audio: Audio, cents: float, struck: Onsets) -> Plain:
    begun = _beginnings(struck, len(struck.full)) * _STEP_S
    edges = np.unique(np.append(begun[begun < audio.duration_s], audio.duration_s))
    if len(edges) < 2:
        return Plain((), 0.0)
    focus = tuning(*_cents(audio))[1]
    if focus <= _NO_TUNING:
        return Plain((), 0.0)
    strength, level = _between(audio, edges, cents)
    top, loud = float(np.percentile(strength.max(axis=1), 75)), float(np.percentile(level, 95))
    if top <= 0 or loud <= 0:
        return Plain((), 0.0)
    notes: list[Note] = []
    sounding: dict[int, Note] = {}
    explained = []
    for start, here, loudness in zip(edges, strength.astype(np.float64), level, strict=False):
        beside = np.pad(here, 1)
        most = float(here.max())
        new = (here >= beside[:-2]) & (here > beside[2:]) & (here >= max(_AUDIBLE * most, _FAINT * top))
        if loudness < loud * 10 ** (_QUIET_DB / 20):
            new[:] = False
        for pitch in list(sounding):
            # What sounds at an onset was struck there: whether it sounded before does not show in a pitch.
            if new[pitch] or here[pitch] < _KEPT * max(most, top / 2):
                notes.append(sounding.pop(pitch)._replace(end_s=round(float(start), 4)))
        for pitch in np.flatnonzero(new).tolist():
            sounding[pitch] = _note(
                float(start), audio.duration_s, LOWEST_PITCH + pitch, float(loudness) / loud, audio.duration_s
            )
        if new.any():
            explained.append(float(here[new].sum() / here.sum()))
    notes.extend(sounding.values())
    notes.sort(key=lambda note: (note.start_s, note.midi))
    clear = float(np.mean(explained)) if explained else 0.0
    sure = np.clip((clear - _SPREAD) / (_CLEAR - _SPREAD), 0.0, 1.0)
    return Plain(tuple(notes), _MOST_SURE * float(sure))


def _cents(audio: Audio) -> tuple[FloatCurve, float]:
    blocks, noise = pitch_classes(audio)
    return blocks.sum(axis=0), noise


def _between(audio: Audio, edges: FloatCurve, cents: float) -> tuple[FloatArray, FloatCurve]:
    """How strongly each pitch sounds between onsets, and the level there; the attacks are left out."""
    later = edges[:-1] + np.minimum(_ATTACK_S, np.diff(edges) / 2)
    both = np.append(np.stack([edges[:-1], later], axis=1).ravel(), edges[-1])
    strength, level = pitches(audio, both, cents)
    return strength[1::2], level[1::2]
