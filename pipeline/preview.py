"""What a separation under way has made so far, for whoever wants to listen to it meanwhile.

It is read from the separation's checkpoint, beside the process that writes it: without a lock, and believing
nothing but whole blocks whose CRC is right. The samples are the separator's own: the residual is not
distributed yet, and no gain is applied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from pipeline.audio import FloatArray
from pipeline.checkpoint_format import Place, last_place, places, read_binding, read_block, read_header
from pipeline.layout import fold_matrix, speakers_of
from pipeline.resample import resample
from pipeline.separators.segments import to_channels

_MARGIN_S: Final = 1
"""Seconds around a stretch whose sample rate is converted: far more than the filter reaches, and whole
samples at every rate, so that stretches converted one by one join without a seam."""


@dataclass(frozen=True, slots=True)
class Preview:
    """The stems of one checkpoint, as far as they are there.

    Attributes:
        path: of the checkpoint.
        stems: their names, in the order of the blocks.
        sample_rate: of the mix in Hz, which is that of what `window` gives.
        length: samples of the mix.
        available: samples, from the start, that `window` can give.
    """

    path: Path
    stems: tuple[str, ...]
    sample_rate: int
    length: int
    available: int

    def window(self, stem: str, start: int, stop: int) -> FloatArray | None:
        """Read a stretch of a stem.

        Args:
            stem: one of `stems`.
            start: first sample.
            stop: one past the last, at most `length`.

        Returns:
            float32 (1 or 2 channels, stop - start), surround sound folded down; None when it is not there,
            or not any more.
        """
        try:
            with self.path.open("rb") as file:
                header = read_header(file)
                if header is None:
                    return None
                return _window(file, read_binding(header), stem, start, stop)
        except OSError:  # It ended in this moment.
            return None


def open_preview(path: Path) -> Preview | None:
    """Look at a checkpoint.

    Returns:
        None when there is none, or not yet.
    """
    try:
        with path.open("rb") as file:
            header = read_header(file)
            if header is None:
                return None
            binding = read_binding(header)
            last = last_place(file, binding)
    except OSError:
        return None
    if "stems" not in binding["separator"]:  # An older version's: its job will begin anew.
        return None
    made = last.position + last.samples if last else 0
    return Preview(
        path,
        tuple(binding["separator"]["stems"]),
        binding["sample_rate"],
        binding["samples"],
        _available(binding, made),
    )


def fold(block: FloatArray, speakers: tuple[str, ...]) -> FloatArray:
    """Fold surround sound down to stereo; mono and stereo stay as they are.

    Args:
        block: float32 (channels, n).
        speakers: one a channel; empty when unknown.
    """
    if len(block) <= 2:
        return block
    folded: FloatArray = fold_matrix(speakers or speakers_of(None, len(block))) @ block
    return folded


def _own_rate(binding: Mapping[str, Any]) -> int:
    return int(binding["separator"].get("sample_rate", binding["sample_rate"]))


def _available(binding: Mapping[str, Any], made: int) -> int:
    """Samples at the mix's rate of which everything around is there too."""
    rate, own = binding["sample_rate"], _own_rate(binding)
    if made == binding["total"]:
        return int(binding["samples"])
    if rate == own:
        return made
    return max(made // own - _MARGIN_S, 0) * int(rate)


def _window(
    file: BinaryIO, binding: Mapping[str, Any], stem: str, start: int, stop: int
) -> FloatArray | None:
    rate, own = binding["sample_rate"], _own_rate(binding)
    if rate == own:
        found = _read(file, binding, stem, start, stop)
        return None if found is None else fold(found, tuple(binding["speakers"]))
    # From a whole second on, so that it is the same sample at both rates.
    first_s = max(start // rate - _MARGIN_S, 0)
    last_s = -(-stop // rate) + _MARGIN_S
    raw = _read(file, binding, stem, first_s * own, min(last_s * own, binding["total"]))
    if raw is None:
        return None
    wanted = min(last_s * rate, binding["samples"]) - first_s * rate
    (*parts,) = resample(iter([raw]), own, rate, raw.shape[1], wanted)
    whole = np.concatenate(parts, axis=1)
    return fold(whole[:, start - first_s * rate : stop - first_s * rate], tuple(binding["speakers"]))


def _read(file: BinaryIO, binding: Mapping[str, Any], stem: str, start: int, stop: int) -> FloatArray | None:
    """Read float32 (channels, stop - start) of a stem at its own rate; None where a block is missing."""
    pieces = []
    position = start
    for place in list(_reaching(places(file, binding), start, stop)):
        file.seek(place.offset)
        left = place.end - place.offset
        block = read_block(file, tuple(binding["lead"]), place.position, binding["total"], left)
        if block is None:
            return None
        own = _of_stem(block, binding["separator"], stem)
        pieces.append(own[:, position - place.position : stop - place.position])
        position = place.position + place.samples
    return np.concatenate(pieces, axis=1) if pieces and position >= stop else None


def _reaching(found: Iterator[Place], start: int, stop: int) -> Iterator[Place]:
    for place in found:
        if place.position >= stop:
            return
        if place.position + place.samples > start:
            yield place


def _of_stem(block: FloatArray, separator: Mapping[str, Any], stem: str) -> FloatArray:
    """Float32 (channels, n) of one stem at the level of the mix."""
    index = separator["stems"].index(stem)
    if "pairs" not in separator:
        plain: FloatArray = block[index]
        return plain
    scale, level = (np.array(separator[key], np.float32)[:, None, None, None] for key in ("std", "mean"))
    pairs: FloatArray = block[:, index : index + 1] * scale + level
    restored: FloatArray = to_channels(pairs, separator["pairs"])[0]
    return restored
