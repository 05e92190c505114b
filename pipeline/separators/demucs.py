"""Demucs: one network or a bag of them, on any recording."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipeline.allocator import large_arrays
from pipeline.audio import Audio, FloatArray
from pipeline.checkpoint import Checkpoint
from pipeline.config import PipelineConfig
from pipeline.errors import OptionInvalid
from pipeline.layout import labelled, stereo_pairs
from pipeline.manifest import Notice
from pipeline.parallel import in_order
from pipeline.progress import CancelToken
from pipeline.resample import resample
from pipeline.scratch import ScratchWriter
from pipeline.separators.base import Engine
from pipeline.separators.segments import (
    NormalisedMix,
    first_segment,
    lockstep,
    overlap_add,
    padded_window,
    segment_places,
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


@dataclass(frozen=True, slots=True)
class _Part:
    """Networks that make some of the stems, whatever the others of the bag do.

    Attributes:
        members: their places in the bag.
        stems: indices of what they make, among the model's.
        shares: of each in each of those stems.
        shifts: samples by which each network's passes begin early.
    """

    members: list[int]
    stems: list[int]
    shares: list[list[float]]
    shifts: list[list[int]]


class DemucsSeparator:
    """A Demucs model, or a bag of them.

    Args:
        loaded: the networks with their share in every stem.
        config: overlap, shifts, segment.
        wanted: stems that will be used: networks that add nothing to them are not run.
        engine: computes the networks.

    Raises:
        OptionInvalid: the segment is longer than the networks can take.
    """

    def __init__(
        self, loaded: LoadedModel, config: PipelineConfig, wanted: Collection[str], engine: Engine
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
        self.device = engine.device
        self.precision = engine.precision
        self.notices: Sequence[Notice] = ()
        self._engine = engine
        self._networks = loaded.networks
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
        self._overlap = config.segment_overlap
        shift_max = int(_SHIFT_S * self._sample_rate)
        draw = random.Random(_SEED)  # noqa: S311 - no secret
        # Drawn for all, so that a network gives the same whichever others are run.
        shifts = [
            [draw.randint(0, shift_max) - shift_max for _ in range(config.shifts)] for _ in loaded.shares
        ]
        self._names = names
        self._parts = [
            _Part(
                members,
                stems,
                [[loaded.shares[m][i] for i in stems] for m in members],
                [shifts[m] for m in members],
            )
            for members, stems in _independent(loaded.shares, run, made)
        ]
        self.parameters: dict[str, Any] = {
            "segment_s": round(segment_s, 4),
            "overlap": self._overlap,
            "shifts": config.shifts,
            "engine": engine.name,
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
        with torch.inference_mode():
            estimates = self._estimates(heard, step, cancel, checkpoint)
            stems = (heard.restore(block) for block in estimates)
            # Every channel of every stem is a row, so that one converter serves them all.
            flat = (block.reshape(rows, -1) for block in stems)
            for block in resample(flat, self._sample_rate, mix.sample_rate, heard.length, mix.length):
                yield block.reshape(len(self.stems), mix.channels, -1)
        # An engine may have changed on the way.
        self.device, self.precision = self._engine.device, self._engine.precision
        self.parameters["engine"] = self._engine.name
        self.notices = self._engine.notices

    def _estimates(
        self,
        heard: NormalisedMix,
        step: Callable[[float], None],
        cancel: CancelToken,
        checkpoint: Checkpoint | None = None,
    ) -> Iterator[FloatArray]:
        """Run all parts side by side: float32 (pairs, stems, 2, n), normalised."""
        count = _Counter(step, cancel)
        names = ["-".join(self._names[i] for i in part.stems) for part in self._parts]
        checkpoints = checkpoint.split(names) if checkpoint else [None] * len(names)
        with large_arrays(kept=not self._engine.recycles), self._at_work(), self._threads() as pool:
            streams = [
                self._resumed(part, heard, count, pool, its)
                for part, its in zip(self._parts, checkpoints, strict=True)
            ]
            if len(streams) == 1:
                yield from streams[0]
                return
            order = np.argsort([i for part in self._parts for i in part.stems])
            for blocks in lockstep(streams):
                yield np.concatenate(blocks, axis=1)[:, order]

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._engine.rest()

    def _threads(self) -> AbstractContextManager[Executor | None]:
        parallel = self._engine.parallel
        return ThreadPoolExecutor(parallel, thread_name_prefix="segment") if parallel > 1 else nullcontext()

    def _resumed(
        self,
        part: _Part,
        heard: NormalisedMix,
        count: _Counter,
        pool: Executor | None,
        checkpoint: Checkpoint | None,
    ) -> Iterator[FloatArray]:
        device = self._engine.device

        def blocks_from(begin: int) -> Iterator[FloatArray]:
            for block in self._part_estimates(part, heard, count, pool, begin):
                if checkpoint is not None and self._engine.device != device:
                    checkpoint.abandon()
                yield block.numpy()

        if checkpoint is None:
            return blocks_from(0)
        lead = (len(heard.mean), len(part.stems), 2)
        stride = segment_stride(self._segment, self._overlap)
        first = next(iter(part.shifts[0]), 0)
        # Those of the first pass: wherever its blocks end, all others' are cut too.
        edges = range(first % stride or stride, heard.length, stride)
        binding = self._binding(part, heard)
        return checkpoint.resume(blocks_from, lead, heard.length, binding, edges, self._sample_rate)

    def _binding(self, part: _Part, heard: NormalisedMix) -> dict[str, Any]:
        """What decides every bit of a part's estimates of a given recording, and what they mean."""
        import torch

        return {
            "stems": [self._names[i] for i in part.stems],
            # With these `pipeline.preview` makes stems of the estimates.
            "sample_rate": self._sample_rate,
            "pairs": heard.pairs,
            "mean": heard.mean.ravel().tolist(),
            "std": heard.std.ravel().tolist(),
            "weights_sha256": self.weights_sha256,
            "members": part.members,
            "shares": part.shares,
            "shifts": part.shifts,
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

    def _part_estimates(
        self, part: _Part, heard: NormalisedMix, count: _Counter, pool: Executor | None, begin: int
    ) -> Iterator[torch.Tensor]:
        """Average the networks and shifts of a part.

        Every pass has segments of its own. All begin at the same sample: each repeats those of its segments
        that reach it from before.

        Args:
            part: the networks.
            heard: the recording.
            count: of all parts' segments.
            pool: threads that run segments at the same time; None: one after the other.
            begin: first sample wanted.

        Yields:
            float32 (pairs, stems, 2, n) from ``begin`` to the end, normalised.
        """
        import torch

        passes = [(m, start) for m, starts in enumerate(part.shifts) for start in starts or [0]]
        stride = segment_stride(self._segment, self._overlap)
        firsts = [first_segment(begin - start, self._segment, stride) for _, start in passes]
        total = sum(-(-(heard.length - start) // stride) for _, start in passes)
        count.begin(part, total, sum(firsts))
        streams = [
            skip(
                overlap_add(
                    self._outputs(part, m, heard, count, pool, start, first),
                    heard.length - start - first * stride,
                    self._segment,
                    self._overlap,
                ),
                begin - start - first * stride,
            )
            for (m, start), first in zip(passes, firsts, strict=True)
        ]
        shifts = max(len(part.shifts[0]), 1)
        shares = torch.tensor(part.shares)[:, :, None, None]
        for blocks in lockstep(streams):
            # Sums in the order that demucs takes: floats depend on it.
            outs = [_sum(blocks[i : i + shifts]) / shifts for i in range(0, len(blocks), shifts)]
            yield _sum([out * share for out, share in zip(outs, shares, strict=True)]) / shares.sum(dim=0)

    def _outputs(
        self,
        part: _Part,
        member: int,
        heard: NormalisedMix,
        count: _Counter,
        pool: Executor | None,
        start: int,
        first: int,
    ) -> Iterator[torch.Tensor]:
        """What one network makes of all segments from the first one on."""
        places = segment_places(start, heard.length, self._segment, self._overlap, first)
        calls = self._calls(part, member, places, len(heard.pairs))
        count.before()
        for outs in in_order(partial(self._run, part, member, heard), calls, pool, self._engine.parallel):
            for out in outs:
                count.after(part)
                yield out
                count.before()

    def _calls(
        self, part: _Part, member: int, places: Iterator[tuple[int, int]], pairs: int
    ) -> Iterator[list[tuple[int, int]]]:
        """Group neighbouring segments with windows of one length: as many as the engine wants."""
        group: list[tuple[int, int]] = []
        for place in places:
            full = len(group) >= max(self._engine.batch // pairs, 1)
            if group and (full or self._window(part, member, place) != self._window(part, member, group[0])):
                yield group
                group = []
            group.append(place)
        if group:
            yield group

    def _window(self, part: _Part, member: int, place: tuple[int, int]) -> int:
        """Samples that a network is given of a segment."""
        network = self._networks[part.members[member]]
        if not isinstance(network, self._transformer):
            return place[1]
        return self._segment if self._fixed_window else network.valid_length(place[1])

    def _run(
        self, part: _Part, member: int, heard: NormalisedMix, places: list[tuple[int, int]]
    ) -> list[torch.Tensor]:
        """Separate segments in one call: float32 (pairs, stems, 2, n) for each of them."""
        import torch

        wanted = self._window(part, member, places[0])
        windows = [padded_window(heard, position, n, wanted) for position, n in places]
        rows = self._engine.run(part.members[member], torch.cat(windows))[:, part.stems]
        excess = [wanted - n for _, n in places]
        return [
            out[..., extra // 2 : extra // 2 + n]
            for out, extra, (_, n) in zip(torch.split(rows, len(heard.pairs)), excess, places, strict=True)
        ]


def _independent(
    shares: Sequence[Sequence[float]], run: list[int], made: list[int]
) -> list[tuple[list[int], list[int]]]:
    """Sort networks and the stems that they make so that no stem needs networks of two groups."""
    groups: list[tuple[set[int], list[int]]] = []
    for stem in made:
        members, stems = {m for m in run if shares[m][stem]}, [stem]
        for group in [group for group in groups if group[0] & members]:
            groups.remove(group)
            members, stems = members | group[0], sorted([*group[1], *stems])
        groups.append((members, stems))
    return [(sorted(members), stems) for members, stems in groups]


def _sum(parts: list[torch.Tensor]) -> torch.Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


class _Counter:
    """Counts segments: looks for a cancel before each and reports the fraction after it."""

    def __init__(self, step: Callable[[float], None], cancel: CancelToken) -> None:
        self._totals: dict[int, int] = {}
        self._done: dict[int, int] = {}
        self._step, self._cancel = step, cancel

    def begin(self, part: _Part, total: int, done: int) -> None:
        self._totals[id(part)], self._done[id(part)] = total, done

    def before(self) -> None:
        self._cancel.check()

    def after(self, part: _Part) -> None:
        self._done[id(part)] += 1
        self._step(sum(self._done.values()) / sum(self._totals.values()))
