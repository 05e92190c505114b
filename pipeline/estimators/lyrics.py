"""Lyrics: the words of the vocals, with their times. An optional extra: the package faster-whisper."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

import numpy as np

from pipeline.annotations import Activity, Annotation, LyricLine, Lyrics, Span, Word
from pipeline.audio import Audio
from pipeline.config import WeightsConfig
from pipeline.errors import LyricsUnavailable
from pipeline.estimators.base import Recording, audible
from pipeline.weights.speech import SPEECH, SpeechModel, find

RATE: Final = 16_000
"""Sample rate in Hz that Whisper hears."""
MARGIN_S, BRIDGE_S = 0.3, 2.0
"""Heard around a passage of the voice; and the longest pause within one."""
PIECE_S: Final = 240.0
"""Longest stretch that is heard at once: what a network computes of an hour would not fit into memory."""
SHORTEST_S: Final = 0.4

LEAST_SURE: Final = -1.0
"""Mean log probability of a line, below which Whisper itself calls its decoding failed."""
NO_SPEECH: Final = 0.6
"""Probability that there is no speech, above which a line has to be surer than `LEAST_SURE`."""
MOST_REPEATED: Final = 2.4
"""How far zlib may shrink a line: Whisper's own sign that it repeats itself (Radford et al. 2022, 4.5)."""

_AV: Final = "av"


class _Piece(NamedTuple):
    start_s: float
    stop_s: float


class LyricsEstimator:
    """Lets Whisper hear the vocals where they sound, and drops what it is not sure of.

    Where the better model lacks, the next best hears, and the manifest says which. Nothing is fetched
    meanwhile: ``python -m pipeline models fetch`` does that.
    """

    name = "lyrics"
    method = "Whisper on the passages of the vocals, beam search without sampling, words by attention"
    version = "1"
    needs: tuple[str, ...] = ("activity",)
    budget = 4.0

    def estimate(self, recording: Recording, found: Mapping[str, Annotation]) -> Lyrics:
        """Write down what is sung.

        Args:
            recording: the mix and its stems.
            found: ``activity`` tells where the vocals sound.

        Returns:
            Lyrics, with no lines where there is no voice or nothing was understood.

        Raises:
            LyricsUnavailable: the package or every model is missing.
        """
        model, folder = installed(recording.weights)
        source = "vocals" if "vocals" in recording.stems else "mix"
        pieces = _pieces(recording, source, found.get("activity"))
        network = _network(folder) if pieces else None
        lines: list[LyricLine] = []
        language = None
        for piece in pieces:
            heard, spoken = _heard(recording.mono(source, RATE), piece, network, language)
            language = language or (spoken if heard else None)
            lines += heard
        sure = [word.confidence for line in lines for word in line.words]
        return Lyrics(
            method=self.method,
            version=self.version,
            source=source,
            model=model.name if pieces else None,
            licence=model.licence.name if pieces else None,
            language=language,
            lines=lines,
            confidence=round(float(np.mean(sure)), 3) if sure else 0.0,
        )


def installed(weights: WeightsConfig) -> tuple[SpeechModel, Path]:
    """Look for the package and for the best model that is on this machine.

    Returns:
        The model, and the folder that holds its files, verified.

    Raises:
        LyricsUnavailable: something lacks; the hint says how to install it.
    """
    if find_spec("faster_whisper") is None or find_spec("ctranslate2") is None:
        raise LyricsUnavailable(
            "The package that hears lyrics is not installed.",
            "Run make setup LYRICS=yes, or pip install --no-deps -r scripts/requirements-lyrics.txt.",
        )
    for model in SPEECH.values():
        folder = find(model, weights)
        if folder is not None:
            return model, folder
    raise LyricsUnavailable(
        "No model that hears lyrics is on this machine.",
        f"Fetch one: python -m pipeline models fetch {' or '.join(SPEECH)}.",
    )


def _network(folder: Path) -> Any:
    if _AV not in sys.modules and find_spec(_AV) is None:
        # faster-whisper imports PyAV to open files, which it never does here. PyAV's wheels carry x264 and
        # x265, which are under the GPL, so it is not installed: an empty module takes its place.
        empty = ModuleType(_AV)
        empty.__spec__ = ModuleSpec(_AV, None)
        sys.modules[_AV] = empty
    from faster_whisper import WhisperModel

    # One thread, because estimators and jobs run side by side.
    return WhisperModel(str(folder), "cpu", compute_type="int8", cpu_threads=1, local_files_only=True)


def _pieces(recording: Recording, source: str, activity: Annotation | None) -> list[_Piece]:
    """Where to listen: around what sounds, short pauses included, never longer than `PIECE_S`."""
    duration_s = recording.mix.duration_s
    if source == "mix":
        spans = [Span(start_s=0, end_s=duration_s)]
    elif not isinstance(activity, Activity):
        spans = [Span(start_s=0, end_s=duration_s)] if audible(recording, source) else []
    else:
        spans = activity.stems[source].active
    joined: list[_Piece] = []
    for span in spans:
        start, stop = max(span.start_s - MARGIN_S, 0.0), min(span.end_s + MARGIN_S, duration_s)
        if joined and start - joined[-1].stop_s < BRIDGE_S and stop - joined[-1].start_s <= PIECE_S:
            joined[-1] = _Piece(joined[-1].start_s, stop)
        elif stop - start >= SHORTEST_S:
            cuts = np.linspace(start, stop, int(np.ceil((stop - start) / PIECE_S)) + 1).tolist()
            joined += [_Piece(a, b) for a, b in pairwise(cuts)]
    return joined


def _heard(
    audio: Audio, piece: _Piece, network: Any, language: str | None
) -> tuple[list[LyricLine], str | None]:
    """The lines of a piece, and the language that they are in."""
    samples = audio.window(round(piece.start_s * RATE), round(piece.stop_s * RATE))[0]
    if not np.any(samples):
        return [], None
    segments, info = network.transcribe(
        samples,
        language=language,
        beam_size=5,
        # Sampling where the beam fails would give another answer each time.
        temperature=0.0,
        condition_on_previous_text=False,
        word_timestamps=True,
    )
    return list(_lines(segments, piece, audio)), info.language


def _lines(segments: Any, piece: _Piece, audio: Audio) -> Iterator[LyricLine]:
    for segment in segments:
        audio.window(0, 0)  # Segments are decoded as they are asked for: a good moment to be stopped.
        if _doubtful(segment):
            continue
        words = [
            Word(
                start_s=_at(word.start, piece),
                end_s=max(_at(word.end, piece), _at(word.start, piece)),
                text=word.word.strip(),
                confidence=round(float(np.clip(word.probability, 0.0, 1.0)), 3),
            )
            for word in segment.words or ()
            if word.word.strip()
        ]
        if words:
            yield LyricLine(
                start_s=words[0].start_s,
                end_s=max(word.end_s for word in words),
                text=" ".join(segment.text.split()),
                words=words,
            )


def _doubtful(segment: Any) -> bool:
    text = segment.text.strip().encode()
    if not text or segment.no_speech_prob > NO_SPEECH or segment.avg_logprob < LEAST_SURE:
        return True
    return len(text) / len(zlib.compress(text)) > MOST_REPEATED


def _at(time_s: float, piece: _Piece) -> float:
    return round(min(max(piece.start_s + float(time_s), piece.start_s), piece.stop_s), 3)
