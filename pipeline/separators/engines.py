"""Which engine computes a model's networks: the fastest that gives what the reference gives."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from pipeline.config import PipelineConfig
from pipeline.errors import MemoryExhausted
from pipeline.separators.base import Engine
from pipeline.separators.gpu import gpu_precision
from pipeline.separators.torch_engine import TorchEngine
from pipeline.weights.cache import cache_folder

if TYPE_CHECKING:
    from pipeline.weights.load import LoadedModel

logger = logging.getLogger(__name__)

AGREEMENT_DB: Final = {"float32": 60.0, "bfloat16": 20.0, "float16": 20.0}
"""Signal over difference to the reference that another engine must reach on the test segment.

Measured on music with htdemucs, compiled: 93 dB and more in float32, 35 to 47 dB in bfloat16. What falls
below these is not rounding but a fault.
"""
MOST_PARALLEL: Final = 2
"""Segments side by side. Each takes 400 MB: `api.jobs.capacity` and `api.jobs.speed` reckon with it."""


class _Verifiable(Engine, Protocol):
    """An engine that says on what its numbers depend."""

    def environment(self) -> tuple[str, ...]: ...


def choose_engine(loaded: LoadedModel, config: PipelineConfig, device: str) -> Engine:
    """Make the engine for a job's precision and device.

    All but the reference itself is compared with it first, once for each model on a machine: what is
    compiled, and what a GPU computes.

    Args:
        loaded: the model.
        config: its ``precision`` decides; ``threads`` and ``weights`` are read too.
        device: ``cpu`` or ``cuda``.

    Raises:
        MemoryExhausted: the host has no room for it.
        torch.OutOfMemoryError: the GPU has none.
    """
    import torch

    if device == "cuda":
        best = gpu_precision(torch.cuda.get_device_capability())
        precisions = ("float32",) if config.precision == "exact" else (best, "float32")
        on_gpu = verified_torch(loaded, device, precisions, cache_folder(config.weights))
        if on_gpu is not None:
            return on_gpu
        device = "cpu"
    if config.precision == "exact" or not _compiles(loaded):
        return TorchEngine(loaded.networks, device)

    from pipeline.separators.compiled.engine import CompiledEngine, best_precision

    threads = torch.get_num_threads()
    # Segments side by side wait for nobody; several networks share the memory one after the other.
    parallel = min(threads, MOST_PARALLEL) if len(loaded.networks) == 1 else 1
    for precision in dict.fromkeys([best_precision(), "float32"]):
        try:
            engine = CompiledEngine(loaded.networks, precision, threads, parallel)
            if _agrees(engine, loaded, cache_folder(config.weights)):
                return engine
        except MemoryExhausted:
            raise
        except RuntimeError as exc:  # OpenVINO has no class of its own.
            logger.warning("%s cannot be compiled in %s: %s", loaded.spec.name, precision, str(exc)[:300])
    return TorchEngine(loaded.networks, device)


def verified_torch(
    loaded: LoadedModel, device: str, precisions: Sequence[str], folder: Path
) -> TorchEngine | None:
    """The first of several precisions of torch that gives what the reference gives; None: none does.

    Args:
        loaded: the model.
        device: ``cpu`` or ``cuda``.
        precisions: of `TorchEngine`, the one that is wanted first.
        folder: where it is kept what was found before.

    Raises:
        MemoryExhausted: the host has no room for it.
        torch.OutOfMemoryError: the GPU has none.
    """
    import torch

    for precision in precisions:
        try:
            engine = TorchEngine(loaded.networks, device, precision)
            if _agrees(engine, loaded, folder):
                return engine
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as exc:  # An operation that this device lacks in this precision.
            logger.warning(
                "%s cannot run on %s in %s: %s", loaded.spec.name, device, precision, str(exc)[:300]
            )
    return None


def _compiles(loaded: LoadedModel) -> bool:
    try:
        from pipeline.separators.compiled.graph import is_supported
    except ImportError as exc:  # It has builds for fewer processors than torch.
        logger.warning("compiled models are not available: %s", exc)
        return False
    return all(is_supported(network) for network in loaded.networks)


def _agrees(engine: _Verifiable, loaded: LoadedModel, folder: Path) -> bool:
    """Whether an engine gives what the reference gives, as was found before on this machine or is now."""
    from pipeline.separators.compiled.verify import agreement_db

    seal = folder / f".verified-{_identity(engine, loaded)}"
    if seal.exists():
        return True
    found_db = agreement_db(engine, TorchEngine(loaded.networks, "cpu"), loaded)
    if found_db < AGREEMENT_DB[engine.precision]:
        logger.error(
            "%s by %s on %s in %s is only within %.1f dB of the reference and is not used",
            loaded.spec.name,
            engine.name,
            engine.device,
            engine.precision,
            found_db,
        )
        return False
    try:
        seal.touch()
    except OSError as exc:  # A folder that cannot be written: it is compared at every start.
        logger.info("%s: %s", seal, exc.strerror)
    return True


def _identity(engine: _Verifiable, loaded: LoadedModel) -> str:
    """Of everything that decides which kernels compute which numbers."""
    parts = (loaded.content_sha256, engine.precision, *engine.environment())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
