"""What a GPU can do, and how much of its memory is free."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pipeline.separators.base import Engine
    from pipeline.weights.load import LoadedModel

MOST_ROWS: Final = 8
"""A minute of stereo at a time. Four stems of each row take 11 MB of the host, in several buffers."""
_FREE_SHARE: Final = 0.8
"""Of the free memory that is planned with: the allocator rounds up, and other processes come and go."""
_BFLOAT16_SINCE: Final = 8
"""Compute capability, its first number, from which on GPUs compute in bfloat16 (NVIDIA Ampere); those before
have float16 alone."""


def gpu_precision(capability: tuple[int, int]) -> str:
    """The fastest arithmetic that networks bear on a GPU.

    Args:
        capability: as `torch.cuda.get_device_capability` gives it.
    """
    return "bfloat16" if capability[0] >= _BFLOAT16_SINCE else "float16"


def rows_that_fit(free: int, row_bytes: int) -> int:
    """How many rows to compute at the same time; at least one is tried.

    Args:
        free: bytes of the GPU's memory.
        row_bytes: that each row takes.
    """
    return max(min(int(_FREE_SHARE * free) // max(row_bytes, 1), MOST_ROWS), 1)


def free_bytes() -> int:
    """Memory of the GPU that this process may still use: what is free, and what its own allocator holds."""
    import torch

    free, _ = torch.cuda.mem_get_info()
    return free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()


def give_back() -> None:
    """Return to the driver what torch's allocators keep for the next request: the GPU's memory, and pinned.

    A GPU that has failed gives nothing back before the process ends.
    """
    import torch

    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        with suppress(torch.AcceleratorError):
            torch.cuda.empty_cache()
            torch.accelerator.empty_host_cache()


def measure_row_bytes(engine: Engine, loaded: LoadedModel) -> int:
    """Memory of the GPU that a row takes besides the networks: of the network that takes most.

    Args:
        engine: on the GPU.
        loaded: the model.

    Raises:
        torch.OutOfMemoryError: it does not have so much.
    """
    import torch

    window = torch.zeros(1, 2, int(loaded.segment_s * loaded.sample_rate))
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    for member in range(len(loaded.networks)):
        engine.run(member, window)
    return torch.cuda.max_memory_allocated() - before
