"""From a model's name to the separator that runs it."""

from __future__ import annotations

import gc
import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from pipeline.allocator import give_back
from pipeline.config import PipelineConfig, WeightsConfig
from pipeline.errors import DeviceUnavailable
from pipeline.progress import CancelToken
from pipeline.separators import gpu
from pipeline.separators.base import Engine, Separator
from pipeline.separators.compiled.engine import CompiledEngine
from pipeline.separators.gpu import free_bytes, measure_row_bytes, rows_that_fit
from pipeline.separators.hpss import HpssSeparator
from pipeline.separators.ladder import Ladder
from pipeline.weights.registry import HPSS, ModelSpec

if TYPE_CHECKING:
    from pipeline.weights.load import LoadedModel

log = logging.getLogger(__name__)


class WarmModel:
    """Keeps the model that was used last, so that the next job need not load it: one, as memory is dear.

    Not for two threads at once.
    """

    def __init__(self) -> None:
        self._asked: tuple[str, WeightsConfig] | None = None
        self._loaded: LoadedModel | None = None
        self._engine_asked: tuple[str, str, int | None] | None = None
        self._engine: Engine | None = None
        self._row_bytes = 0
        self.gpu_failed = False
        """Whether a GPU has failed: this process cannot use it any more, and another one may."""

    @property
    def name(self) -> str | None:
        """Of the model that is kept."""
        return self._asked[0] if self._asked else None

    def drop(self) -> None:
        """Give the memory of the model back: the host's, and the GPU's but for what its driver keeps.

        Those some hundred MB of a CUDA context stay until the process ends.
        """
        if self._loaded is None:
            return
        self._asked = self._loaded = self._engine_asked = self._engine = None
        give_memory_back()

    def prepare(self, spec: ModelSpec, config: PipelineConfig) -> None:
        """Load a model that will be asked for, unless it needs no weights or they are not on this machine.

        Raises:
            WeightsError: they cannot be trusted.
            MemoryExhausted: there is no room for it.
            DeviceUnavailable: see `choose_device`.
        """
        from pipeline.weights.cache import present

        if spec.members and present(spec, config.weights):
            self.load(spec, config, CancelToken())

    def load(
        self, spec: ModelSpec, config: PipelineConfig, cancel: CancelToken
    ) -> tuple[LoadedModel, Engine]:
        """Give the model that was asked for, and what computes it.

        Raises:
            WeightsError: see `pipeline.weights.load.load`.
            MemoryExhausted: the host has no room for it. Where a GPU has none, the CPU computes.
            DeviceUnavailable: see `choose_device`.
        """
        import torch

        from pipeline.weights.load import load

        if config.threads is not None:
            torch.set_num_threads(config.threads)
        device = choose_device(config.device)
        asked = (spec.name, config.weights)
        kept = self._engine if self._engine_asked == _engine_asked(config, device) else None
        if self._loaded is None or self._asked != asked or (kept is None and not self._loaded.complete):
            self._asked = self._loaded = self._engine = None  # Two of them might not fit.
            self._loaded = load(spec, config.weights, cancel=cancel)
            self._asked = asked
        if device == "cuda":
            return self._loaded, self._on_gpu(self._loaded, config)
        return self._loaded, self._kept_engine(self._loaded, config, device)

    def _kept_engine(self, loaded: LoadedModel, config: PipelineConfig, device: str) -> Engine:
        """The engine of the job before, if it is as this one's should be, else a new one."""
        from pipeline.separators.engines import choose_engine

        engine_asked = _engine_asked(config, device)
        if self._engine is None or self._engine_asked != engine_asked:
            self._engine = None
            engine = choose_engine(loaded, config, device)
            self._row_bytes = measure_row_bytes(engine, loaded) if engine.device == "cuda" else 0
            if isinstance(engine, CompiledEngine):  # It has weights of its own.
                loaded.let_go()
                give_memory_back()
            self._engine, self._engine_asked = engine, engine_asked
        return self._engine

    def _on_gpu(self, loaded: LoadedModel, config: PipelineConfig) -> Engine:
        """What computes one job, on the GPU as long as its memory lasts."""
        import torch

        on_gpu: Engine | None = None
        try:
            on_gpu = self._kept_engine(loaded, config, "cuda")
        except torch.OutOfMemoryError as exc:
            log.warning("the GPU has no room for %s: %s", loaded.spec.name, str(exc).splitlines()[0])
        if on_gpu is not None and on_gpu.device != "cuda":
            return on_gpu
        # Batches of other sizes are summed in another order: exact is one segment at a time.
        one = on_gpu is None or config.precision == "exact"
        batch = 1 if one else rows_that_fit(free_bytes(), self._row_bytes)

        def leave_gpu() -> Engine:
            self._engine = None
            give_memory_back()
            return self._kept_engine(loaded, config, "cpu")

        def fail() -> None:
            self.gpu_failed = True

        return Ladder(on_gpu, leave_gpu, batch, give_memory_back, fail)


def _engine_asked(config: PipelineConfig, device: str) -> tuple[str, str, int | None]:
    """What of a job decides which engine is made."""
    return "exact" if config.precision == "exact" else "fastest", device, config.threads


def build_separator(
    spec: ModelSpec,
    config: PipelineConfig,
    wanted: Collection[str],
    cancel: CancelToken,
    warm: WarmModel | None = None,
) -> Separator:
    """Make the separator that a job asked for; its weights are fetched if need be.

    Args:
        spec: the model.
        config: options of the job.
        wanted: names of the model's stems that will be used.
        cancel: stops a download.
        warm: holds the model of the job before, and then this one's; None: it is loaded for this job alone.

    Raises:
        WeightsError: the weights cannot be had or trusted.
        DeviceUnavailable: ``cuda`` was asked for and is not there.
        OptionInvalid: the segment does not fit the model.
    """
    if spec.name == HPSS:
        return HpssSeparator()
    from pipeline.separators.demucs import DemucsSeparator

    loaded, engine = (warm or WarmModel()).load(spec, config, cancel)
    return DemucsSeparator(loaded, config, wanted, engine)


def give_memory_back() -> None:
    """Return what was freed to the GPU and to the system, which allocators keep for the next request."""
    gc.collect()  # Networks refer to themselves.
    gpu.give_back()
    give_back()


def choose_device(asked: str) -> str:
    """Decide where to compute.

    Args:
        asked: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        DeviceUnavailable: ``cuda`` was asked for and is not there.
    """
    import torch

    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise DeviceUnavailable(
            "No CUDA device is available on this machine.",
            "Use device cpu or auto, or install a driver and the CUDA build of torch: make setup TORCH=cuda.",
        )
    return "cuda" if there and asked != "cpu" else "cpu"
