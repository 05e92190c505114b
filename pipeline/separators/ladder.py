"""A GPU as long as its memory and itself last, and then the CPU."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.manifest import Notice
from pipeline.separators.base import Engine

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


class Ladder:
    """An engine for one job that steps down where a GPU runs out of memory or fails; nothing done is lost.

    Its rungs: half as many rows at a time, down to a single one; then the CPU, for the rest of the job. A
    shorter segment is none: htdemucs pads segments to the length that it was trained on, so it would take as
    much, and for other networks it would be another separation. The next job begins at the top again.

    Calls from several threads take turns on the GPU: while one waits for it, another prepares its window.

    Args:
        gpu: computes on the GPU, and raises `torch.OutOfMemoryError`; None: it did not take the networks.
        cpu: makes what computes on the CPU, and lets go of the GPU; called once at most.
        batch: rows at a time, at first.
        give_back: frees what the GPU's allocator keeps, before a smaller batch is tried.
        failed: told that the GPU has failed otherwise: until this process ends, every call of it will.
    """

    parallel = 2
    recycles = True

    def __init__(
        self,
        gpu: Engine | None,
        cpu: Callable[[], Engine],
        batch: int,
        give_back: Callable[[], None],
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._gpu, self._make_cpu, self._give_back, self._tell_failed = gpu, cpu, give_back, failed
        self._cpu: Engine | None = None
        self._cores = threading.Semaphore(1)
        self._batch = batch
        self._limit: int | None = None
        self._why_left = "ran out of memory" if gpu else "had no room for the model"
        self._ran: list[tuple[str, str, str]] = []
        self._turn = threading.Lock()
        if gpu is None:
            self._begin_on_cpu()

    @property
    def name(self) -> str:
        """What computed, joined by ``+`` where it was more than one."""
        return self._said(0)

    @property
    def device(self) -> str:
        """Where it computed."""
        return self._said(1)

    @property
    def precision(self) -> str:
        """In which arithmetic."""
        return self._said(2)

    @property
    def batch(self) -> int:
        """Rows that it takes in one call."""
        return self._batch if self._gpu is not None else 1

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What became of the GPU, where it did not do all as it should."""
        if self._cpu is not None:
            rest = "the rest was" if len(self._ran) > 1 else "stems were"
            said = f"The GPU {self._why_left}: {rest} separated on the CPU."
            return (Notice(code="gpu_left", message=said),)
        if self._limit is not None:
            said = (
                f"The GPU ran short of memory: at most {self._limit} stereo segments were separated at once."
            )
            return (Notice(code="gpu_batch_reduced", message=said),)
        return ()

    def run(self, member: int, window: torch.Tensor) -> torch.Tensor:
        """See `pipeline.separators.base.Engine.run`."""
        import torch

        with self._turn:
            outs = self._on_gpu(member, window)
            left = window[sum(len(out) for out in outs) :]
            cpu = self._begin_on_cpu() if len(left) else None
        if cpu is not None:
            for row in torch.split(left, 1):
                with self._cores:
                    outs.append(cpu.run(member, row))
        return torch.cat(outs) if len(outs) > 1 else outs[0]

    def rest(self) -> None:
        """See `pipeline.separators.base.Engine.rest`."""
        for engine in (self._gpu, self._cpu):
            if engine is not None:
                engine.rest()

    def _on_gpu(self, member: int, window: torch.Tensor) -> list[torch.Tensor]:
        """As many rows as the GPU can be brought to compute."""
        import torch

        outs: list[torch.Tensor] = []
        done = 0
        while self._gpu is not None and done < len(window):
            rows = window[done : done + (self._limit or len(window))]
            try:
                outs.append(self._gpu.run(member, rows))
                done += len(rows)
                self._note(self._gpu)
                continue
            except torch.OutOfMemoryError as exc:
                said, full = str(exc).splitlines()[0], True
            except torch.AcceleratorError as exc:
                said, full = str(exc).splitlines()[0], False
            # Not while the exception is handled: its frames hold what is to be freed.
            if full:
                self._step_down(len(rows), said)
            else:
                self._leave(said)
        return outs

    def _leave(self, said: str) -> None:
        log.error("the GPU failed: %s", said, extra={"action": "gpu_failed"})
        self._gpu, self._why_left = None, "failed"
        self._tell_failed()

    def _step_down(self, rows: int, said: str) -> None:
        log.warning("%d rows at a time are too many for the GPU: %s", rows, said)
        if rows == 1:
            self._gpu = None
            return
        self._limit = rows // 2
        self._batch = min(self._batch, self._limit)
        self._give_back()

    def _begin_on_cpu(self) -> Engine:
        if self._cpu is None:
            self._cpu = self._make_cpu()
            self._cores = threading.Semaphore(self._cpu.parallel)
            self._note(self._cpu)
        return self._cpu

    def _note(self, engine: Engine) -> None:
        facts = (engine.name, engine.device, engine.precision)
        if facts not in self._ran:
            self._ran.append(facts)

    def _said(self, which: int) -> str:
        ran = self._ran
        if not ran and self._gpu is not None:
            ran = [(self._gpu.name, self._gpu.device, self._gpu.precision)]
        return "+".join(dict.fromkeys(facts[which] for facts in ran))
