"""A click track: what a metronome plays that follows the beats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.audio import BLOCK_SAMPLES, FloatArray
from pipeline.codec.encode import encode
from pipeline.codec.formats import FORMATS
from pipeline.exports.base import Material
from pipeline.scratch import ScratchWriter

_LENGTH_S: Final = 0.03
_BAR_HZ, _BEAT_HZ = 1500.0, 1000.0
_BAR_GAIN, _BEAT_GAIN = 0.8, 0.4


class ClickExport:
    """``click.flac``: as long as the recording, one channel, higher and louder on downbeats."""

    name = "click"
    needs = "beats"

    def write(self, material: Material, folder: Path) -> list[Path]:
        """Write the audio."""
        if not material.beats_s:
            return []
        with ScratchWriter(material.scratch / "click.f32", 1) as writer:
            for block in _blocks(material):
                writer.write(block)
            audio = writer.audio(material.mix.sample_rate)
        path = folder / "click.flac"
        encode(audio, path, FORMATS["flac"], cancel=material.cancel)
        writer.path.unlink()
        return [path]


def _blocks(material: Material) -> Iterator[FloatArray]:
    """The track, block by block: float32 (1, samples)."""
    rate, length = material.mix.sample_rate, material.mix.length
    bar, beat = _click(_BAR_HZ, _BAR_GAIN, rate), _click(_BEAT_HZ, _BEAT_GAIN, rate)
    starts = np.rint(np.array(material.beats_s) * rate).astype(np.intp)
    accents = np.isin(starts, np.rint(np.array(material.downbeats_s) * rate).astype(np.intp))
    for first in range(0, length, BLOCK_SAMPLES):
        size = min(BLOCK_SAMPLES, length - first)
        block = np.zeros((1, size), dtype=np.float32)
        touching = range(*np.searchsorted(starts, [first - len(beat), first + size]))
        for index in touching:
            sound = bar if accents[index] else beat
            begin = int(starts[index]) - first
            inside = slice(max(begin, 0), max(min(begin + len(sound), size), 0))
            block[0, inside] += sound[inside.start - begin : inside.stop - begin]
        yield block


def _click(hz: float, gain: float, rate: int) -> FloatArray:
    time = np.arange(round(_LENGTH_S * rate)) / rate
    fade = np.exp(-time / (_LENGTH_S / 5)) * np.minimum(1.0, (_LENGTH_S - time) / (_LENGTH_S / 10))
    return np.asarray(gain * fade * np.sin(2 * np.pi * min(hz, rate / 4) * time), dtype=np.float32)
