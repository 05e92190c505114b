"""Demucs' own networks, run by torch: the reference, in float32 as they were trained and published."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import MemoryExhausted
from pipeline.manifest import Notice
from pipeline.separators.gpu import give_back

if TYPE_CHECKING:
    import torch

_GPU_FULL: Final = (
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUFFT_ALLOC_FAILED",
    # They have no room for their handles.
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_NOT_INITIALIZED",
    # cuDNN tried every way, and for none was there memory to work in.
    "unable to find an engine to execute this computation",
)
"""What libraries say that ask the driver for memory past torch's allocator."""


class TorchEngine:
    """Runs segments through networks as they are.

    Args:
        networks: `torch.nn.Module` on the CPU, where they stay: another device gets copies.
        device: ``cpu`` or ``cuda``.
        precision: ``float32``; or ``bfloat16`` or ``float16``, in which convolutions and matrix products are
            computed then. Transforms and norms are float32 always, by the rules of `torch.autocast`.

    Raises:
        MemoryExhausted: the host has no room for them.
        torch.OutOfMemoryError: the GPU has none: `pipeline.separators.ladder.Ladder` knows what to do.
    """

    name = "torch"
    parallel = 1
    recycles = False
    batch = 1
    notices: tuple[Notice, ...] = ()

    def __init__(self, networks: Sequence[Any], device: str, precision: str = "float32") -> None:
        self.device = device
        self.precision = precision
        with _memory_errors():
            self._networks = [
                network if device == "cpu" else copy.deepcopy(network).to(device) for network in networks
            ]

    def environment(self) -> tuple[str, ...]:
        """What of this machine decides which kernels compute."""
        import torch

        if self.device == "cpu":
            return (torch.__version__, torch.backends.cpu.get_cpu_capability())
        return (
            torch.__version__,
            torch.cuda.get_device_name(),
            f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}",  # type: ignore[no-untyped-call]
        )

    def run(self, member: int, window: torch.Tensor) -> torch.Tensor:
        """See `pipeline.separators.base.Engine.run`.

        Raises:
            MemoryExhausted: the host ran out of memory.
            torch.OutOfMemoryError: the GPU did.
        """
        import torch

        with (
            _memory_errors(),
            _arithmetic(self.device, self.precision),
            fused_attention(),
            torch.inference_mode(),
        ):
            out = self._networks[member](_sent(window, self.device))
            return _fetched(out.float(), self.device)

    def rest(self) -> None:
        """See `pipeline.separators.base.Engine.rest`; for the CPU `pipeline.allocator` does so.

        Whoever keeps a GPU's memory between two jobs takes it from others who have one now.
        """
        if self.device == "cuda":
            give_back()


def _sent(window: torch.Tensor, device: str) -> torch.Tensor:
    if device == "cpu":
        return window
    # From pinned memory the copy runs by itself, and what computes is queued behind it.
    return window.pin_memory().to(device, non_blocking=True)


def _fetched(out: torch.Tensor, device: str) -> torch.Tensor:
    if device == "cpu":
        return out
    import torch

    host = torch.empty(out.shape, dtype=out.dtype, pin_memory=True)
    host.copy_(out, non_blocking=True)
    torch.cuda.current_stream().synchronize()
    return host


@contextmanager
def _arithmetic(device: str, precision: str) -> Iterator[None]:
    import torch

    with ExitStack() as stack:
        if device == "cuda":
            # float32 is float32, not TF32 with its 10 bits of mantissa; and every run gives the same bits.
            flags = {"enabled": True, "benchmark": False, "deterministic": True, "allow_tf32": False}
            stack.enter_context(torch.backends.cudnn.flags(**flags))
            stack.enter_context(_whole_float32_products())
        if precision != "float32":
            stack.enter_context(torch.autocast(device, dtype=getattr(torch, precision)))
        yield


@contextmanager
def _whole_float32_products() -> Iterator[None]:
    """No TF32 in matrix products either, though the environment may ask for it (NVIDIA's images do)."""
    import torch

    products = torch.backends.cuda.matmul
    before, products.allow_tf32 = products.allow_tf32, False
    try:
        yield
    finally:
        products.allow_tf32 = before


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
    except MemoryError as exc:
        raise _memory_exhausted() from exc
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as exc:
        said = str(exc)
        if any(sign in said for sign in _GPU_FULL):
            raise torch.OutOfMemoryError(said) from exc
        # torch has no class of its own for a failed allocation on the CPU.
        if "can't allocate memory" not in said:
            raise
        raise _memory_exhausted() from exc


def _memory_exhausted() -> MemoryExhausted:
    return MemoryExhausted(
        "Memory ran out while separating.", "Close other programs, or give a shorter segment."
    )
