"""From a separator's blocks to the stems that were asked for, and what they leave of the mix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.audio import Audio, FloatArray
from pipeline.errors import StemUnknown
from pipeline.scratch import ScratchWriter

MINUS: Final = "no_"
RESIDUAL: Final = "residual"
EXACT_DB: Final = -200.0
"""Residual in dB that stands for exactly nothing: far below what float32 can hold."""

_FRAME: Final = 4096
"""Samples over which a stem's loudness decides its share of the residual: 93 ms at 44.1 kHz."""


@dataclass(frozen=True, slots=True)
class Separated:
    """Stems on disk.

    Attributes:
        published: what becomes artifacts, by name, in order.
        made: every stem of the separator that was kept for the estimators, by name.
        residual_db: energy of mix - sum(stems) relative to the mix in dB, `EXACT_DB` where it is zero;
            None where not all stems were made.
        peak: largest absolute sample of what is published.
    """

    published: dict[str, Audio]
    made: dict[str, Audio]
    residual_db: float | None
    peak: float


def choose_stems(asked: tuple[str, ...] | None, model: str, stems: tuple[str, ...]) -> tuple[str, ...]:
    """Check a selection of stems.

    Args:
        asked: stems, and ``no_<stem>`` for the mix without one; None for all stems.
        model: name of the model, for the message.
        stems: what the model makes.

    Returns:
        The selection without repetitions, in the order asked.

    Raises:
        StemUnknown: the model has no such stem.
    """
    if asked is None:
        return stems
    for name in asked:
        if name.removeprefix(MINUS) not in stems:
            raise StemUnknown(
                f"The model {model} has no stem {name!r}.",
                f"Choose from: {', '.join(stems)}; {MINUS}<stem> gives the mix without it.",
            )
    return tuple(dict.fromkeys(asked))


def collect_stems(
    mix: Audio,
    blocks: Iterable[FloatArray],
    names: tuple[str, ...],
    wanted: tuple[str, ...],
    scratch: Path,
    *,
    complete: bool,
    residual: str,
    keep_all: bool,
) -> Separated:
    """Walk through mix and stems side by side and write what is needed.

    Args:
        mix: the recording.
        blocks: float32 (stems, channels, n) consecutive blocks that cover the mix.
        names: of the first axis.
        wanted: names to publish, as `choose_stems` gives them.
        scratch: folder for the files.
        complete: whether the names are all stems of the model.
        residual: ``report``, ``file`` or ``distribute``.
        keep_all: keep every stem for estimators and exports, also those that are not published.

    Raises:
        DiskFull: no space left.
    """
    kept = [name for name in names if keep_all or name in wanted]
    with_residual = residual == "file" and complete
    outputs = [*kept, *(w for w in wanted if w.startswith(MINUS)), *([RESIDUAL] if with_residual else [])]
    mix_energy = residual_energy = 0.0
    peaks = dict.fromkeys(outputs, 0.0)
    if residual == "distribute" and complete:
        blocks = _distributed(mix, blocks)
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(ScratchWriter(scratch / f"stem-{name}.f32", mix.channels))
            for name in outputs
        }
        position = 0
        for block in blocks:
            heard = mix.window(position, position + block.shape[-1])
            position += block.shape[-1]
            left = heard - block.sum(axis=0)
            mix_energy += float(np.sum(heard.astype(np.float64) ** 2))
            residual_energy += float(np.sum(left.astype(np.float64) ** 2))
            for name, writer in writers.items():
                out = left if name == RESIDUAL else _named(name, names, heard, block)
                peaks[name] = max(peaks[name], float(np.abs(out).max(initial=0.0)))
                writer.write(out)
        audio = {name: writer.audio(mix.sample_rate, mix.speakers) for name, writer in writers.items()}
    published = [*wanted, *([RESIDUAL] if with_residual else [])]
    return Separated(
        published={name: audio[name] for name in published},
        made={name: audio[name] for name in kept},
        residual_db=_decibels(residual_energy, mix_energy) if complete else None,
        peak=max((peaks[name] for name in published), default=0.0),
    )


def _named(name: str, names: tuple[str, ...], heard: FloatArray, block: FloatArray) -> FloatArray:
    if name in names:
        stem: FloatArray = block[names.index(name)]
        return stem
    minus: FloatArray = heard - block[names.index(name.removeprefix(MINUS))]
    return minus


def _decibels(residual_energy: float, mix_energy: float) -> float:
    if residual_energy == 0.0:
        return EXACT_DB
    return max(10.0 * float(np.log10(residual_energy / mix_energy)), EXACT_DB)


def _distributed(mix: Audio, blocks: Iterable[FloatArray]) -> Iterator[FloatArray]:
    """Give the residual back to the stems, to each by how loud it is at the moment.

    Shares change linearly from frame edge to frame edge, where they are those of the two frames' energies
    together: a jump would click. They sum to one, so the stems then sum to the mix.
    """
    position = 0
    before: FloatArray | None = None
    frame: FloatArray | None = None
    for following in _with_end(_frames(blocks)):
        if frame is not None:
            here = _energy(frame)
            left_edge = here if before is None else here + before
            right_edge = here if following is None else here + _energy(following)
            heard = mix.window(position, position + frame.shape[-1])
            position += frame.shape[-1]
            yield _shared_out(heard, frame, _shares(left_edge), _shares(right_edge))
            before = here
        frame = following


def _with_end(frames: Iterator[FloatArray]) -> Iterator[FloatArray | None]:
    yield from frames
    yield None


def _frames(blocks: Iterable[FloatArray]) -> Iterator[FloatArray]:
    """Cut blocks (…, n) into frames of `_FRAME` samples; the last may be shorter."""
    rest: FloatArray | None = None
    for block in blocks:
        joined = block if rest is None else np.concatenate([rest, block], axis=-1)
        whole = joined.shape[-1] - joined.shape[-1] % _FRAME
        for start in range(0, whole, _FRAME):
            yield joined[..., start : start + _FRAME]
        rest = joined[..., whole:]
    if rest is not None and rest.shape[-1]:
        yield rest


def _energy(frame: FloatArray) -> FloatArray:
    """Energy of each stem in float32 (stems, channels, n), as float32 (stems,)."""
    return np.asarray((frame**2).sum(axis=(1, 2)), dtype=np.float32)


def _shares(energy: FloatArray) -> FloatArray:
    floor = np.float32(1e-12)
    shares: FloatArray = (energy + floor) / (energy + floor).sum()
    return shares


def _shared_out(heard: FloatArray, frame: FloatArray, start: FloatArray, end: FloatArray) -> FloatArray:
    ramp = np.linspace(0.0, 1.0, frame.shape[-1], endpoint=False, dtype=np.float32)
    shares = start[:, None] * (1.0 - ramp) + end[:, None] * ramp
    left = heard - frame.sum(axis=0)
    summing: FloatArray = frame + shares[:, None, :] * left
    return summing
