"""Demucs through its own networks: one model or a bag, on any recording."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.audio import Audio, FloatArray
from pipeline.checkpoint import Checkpoint
from pipeline.config import PipelineConfig
from pipeline.errors import MemoryExhausted, OptionInvalid
from pipeline.layout import labelled, stereo_pairs
from pipeline.progress import CancelToken
from pipeline.resample import resample
from pipeline.scratch import ScratchWriter
from pipeline.separators.segments import (
    NormalisedMix,
    first_segment,
    lockstep,
    overlap_add,
    padded_window,
    segment_stride,
    skip,
)

if TYPE_CHECKING:
    import torch

    from pipeline.weights.load import LoadedModel

_SHIFT_S: Final = 0.5
"""Largest random shift in seconds: demucs' own."""
_SEED: Final = 0
"""Shifts are random but the same for every job: equal input gives equal bytes."""


class DemucsSeparator:
    """A Demucs model, or a bag of them.

    Args:
        loaded: the networks with their share in every stem.
        config: overlap, shifts, segment.
        wanted: stems that will be used: networks that add nothing to them are not run.
        device: ``cpu`` or ``cuda``.

    Raises:
        OptionInvalid: the segment is longer than the networks can take.
    """

    precision = "float32"

    def __init__(
        self, loaded: LoadedModel, config: PipelineConfig, wanted: Collection[str], device: str
    ) -> None:
        from demucs.htdemucs import HTDemucs

        names = loaded.spec.stems
        run = [
            m
            for m, shares in enumerate(loaded.shares)
            if any(share for name, share in zip(names, shares, strict=True) if name in wanted)
        ]
        # A stem can be made when every network that has a share in it is run.
        made = [i for i in range(len(names)) if all(m in run for m, s in enumerate(loaded.shares) if s[i])]
        self.stems = tuple(names[i] for i in made)
        self.complete = len(made) == len(names)
        self.weights_sha256: str | None = loaded.content_sha256
        self.device = device
        self._made = made
        self._shares = [[loaded.shares[m][i] for i in made] for m in run]
        self._networks: list[Any] = [loaded.networks[m].to(device) for m in run]
        self._sample_rate = loaded.sample_rate
        self._transformer = HTDemucs
        self._fixed_window = config.segment_s is not None
        segment_s = config.segment_s or loaded.segment_s
        if segment_s > loaded.longest_segment_s:
            raise OptionInvalid(
                f"A segment of {segment_s:g} s is longer than {loaded.spec.name} can take "
                f"({loaded.longest_segment_s:g} s).",
                "Give a shorter segment, or none.",
            )
        self._segment = int(self._sample_rate * segment_s)
        self._overlap = config.overlap
        shift_max = int(_SHIFT_S * self._sample_rate)
        draw = random.Random(_SEED)  # noqa: S311 - no secret
        self._shifts = [[draw.randint(0, shift_max) - shift_max for _ in range(config.shifts)] for _ in run]
        self.parameters: dict[str, Any] = {
            "segment_s": round(segment_s, 4),
            "overlap": config.overlap,
            "shifts": config.shifts,
        }

    def separate(
        self,
        mix: Audio,
        *,
        scratch: Path,
        step: Callable[[float], None],
        cancel: CancelToken,
        checkpoint: Checkpoint | None = None,
    ) -> Iterator[FloatArray]:
        """See `pipeline.separators.base.Separator.separate`."""
        import torch

        heard = NormalisedMix(self._at_model_rate(mix, scratch / "heard.f32"), stereo_pairs(labelled(mix)))
        rows = len(self.stems) * mix.channels
        with _memory_errors(), fused_attention(), torch.inference_mode():

            def blocks_from(begin: int) -> Iterator[FloatArray]:
                return (block.numpy() for block in self._estimates(heard, step, cancel, begin))

            if checkpoint is None:
                estimates = blocks_from(0)
            else:
                lead = (len(heard.mean), len(self.stems), 2)
                estimates = checkpoint.resume(blocks_from, lead, heard.length, self._binding())
            stems = (heard.restore(block) for block in estimates)
            # Every channel of every stem is a row, so that one converter serves them all.
            flat = (block.reshape(rows, -1) for block in stems)
            for block in resample(flat, self._sample_rate, mix.sample_rate, heard.length, mix.length):
                yield block.reshape(len(self.stems), mix.channels, -1)

    def _binding(self) -> dict[str, Any]:
        """What decides every bit of the estimates of a given recording."""
        import torch

        return {
            "stems": self.stems,
            "weights_sha256": self.weights_sha256,
            "shares": self._shares,
            "device": torch.cuda.get_device_name() if self.device == "cuda" else self.device,
            # Kernels and the order of their sums depend on these.
            "cpu": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
            "precision": self.precision,
            "parameters": self.parameters,
        }

    def _at_model_rate(self, mix: Audio, path: Path) -> Audio:
        if mix.sample_rate == self._sample_rate:
            return mix
        with ScratchWriter(path, mix.channels) as writer:
            for block in resample(mix.blocks(), mix.sample_rate, self._sample_rate, mix.length):
                writer.write(block)
            return writer.audio(self._sample_rate, mix.speakers)

    def _estimates(
        self, heard: NormalisedMix, step: Callable[[float], None], cancel: CancelToken, begin: int = 0
    ) -> Iterator[torch.Tensor]:
        """Average the networks and shifts.

        Every pass has segments of its own. All begin at the same sample: each repeats those of its segments
        that reach it from before.

        Args:
            heard: the recording.
            step: told the fraction done.
            cancel: looked at before every segment.
            begin: first sample wanted.

        Yields:
            float32 (pairs, stems, 2, n) from ``begin`` to the end, normalised.
        """
        import torch

        passes = [(m, start) for m, starts in enumerate(self._shifts) for start in starts or [0]]
        stride = segment_stride(self._segment, self._overlap)
        firsts = [first_segment(begin - start, self._segment, stride) for _, start in passes]
        total = sum(-(-(heard.length - start) // stride) for _, start in passes)
        count = _Counter(total, sum(firsts), step, cancel)
        streams = [
            skip(
                overlap_add(
                    partial(self._run, self._networks[m], heard, count),
                    start,
                    heard.length,
                    self._segment,
                    self._overlap,
                    first,
                ),
                begin - start - first * stride,
            )
            for (m, start), first in zip(passes, firsts, strict=True)
        ]
        shifts = max(len(self._shifts[0]), 1)
        shares = torch.tensor(self._shares)[:, :, None, None]
        for blocks in lockstep(streams):
            # Sums in the order that demucs takes: floats depend on it.
            outs = [_sum(blocks[i : i + shifts]) / shifts for i in range(0, len(blocks), shifts)]
            yield _sum([out * share for out, share in zip(outs, shares, strict=True)]) / shares.sum(dim=0)

    def _run(
        self, network: Any, heard: NormalisedMix, count: _Counter, position: int, n: int
    ) -> torch.Tensor:
        count.before()
        wanted = n
        if isinstance(network, self._transformer):
            wanted = self._segment if self._fixed_window else network.valid_length(n)
        window = padded_window(heard, position, n, wanted).to(self.device)
        out: torch.Tensor = network(window)[:, self._made]
        excess = out.shape[-1] - n
        out = out[..., excess // 2 : excess // 2 + n].cpu()
        count.after()
        return out


def _sum(parts: list[torch.Tensor]) -> torch.Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


class _Counter:
    """Counts segments: looks for a cancel before each and reports the fraction after it."""

    def __init__(self, total: int, done: int, step: Callable[[float], None], cancel: CancelToken) -> None:
        self._total, self._done, self._step, self._cancel = total, done, step, cancel

    def before(self) -> None:
        self._cancel.check()

    def after(self) -> None:
        self._done += 1
        self._step(self._done / self._total)


@contextmanager
def fused_attention() -> Iterator[None]:
    """Let attention run as one kernel.

    torch's "fast path" for attention in eval mode is the older one: it writes out the whole attention matrix.
    Without it the same layers use scaled_dot_product_attention; a segment takes a sixth less time.
    """
    import torch

    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def _memory_errors() -> Iterator[None]:
    import torch

    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as exc:
        raise _memory_exhausted() from exc
    except RuntimeError as exc:
        # torch has no class of its own for a failed allocation on the CPU.
        if "can't allocate memory" not in str(exc):
            raise
        raise _memory_exhausted() from exc


def _memory_exhausted() -> MemoryExhausted:
    return MemoryExhausted(
        "Memory ran out while separating.", "Close other programs, or give a shorter segment."
    )
