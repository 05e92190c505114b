"""Demucs' own networks, run by torch: the reference, in float32 as they were trained and published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipeline.errors import MemoryExhausted

if TYPE_CHECKING:
    import torch


class TorchEngine:
    """Runs segments through networks as they are.

    Args:
        networks: `torch.nn.Module`.
        device: ``cpu`` or ``cuda``.
    """

    name = "torch"
    precision = "float32"
    parallel = 1
    recycles = False

    def __init__(self, networks: Sequence[Any], device: str) -> None:
        self.device = device
        with _memory_errors():
            self._networks = [network.to(device) for network in networks]

    def run(self, member: int, window: torch.Tensor) -> torch.Tensor:
        """See `pipeline.separators.base.Engine.run`."""
        import torch

        with _memory_errors(), fused_attention(), torch.inference_mode():
            out: torch.Tensor = self._networks[member](window.to(self.device)).cpu()
        return out


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
