"""What a separator is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.audio import Audio, FloatArray
from pipeline.checkpoint import Checkpoint
from pipeline.manifest import Notice
from pipeline.progress import CancelToken

if TYPE_CHECKING:
    import torch


class Engine(Protocol):
    """What computes the networks of one model. What it says of itself may change while it computes."""

    @property
    def name(self) -> str:
        """``torch`` or ``openvino``, for the manifest."""
        ...

    @property
    def device(self) -> str:
        """Where it computes: ``cpu`` or ``cuda``; ``cuda+cpu`` where a GPU did not last."""
        ...

    @property
    def precision(self) -> str:
        """Arithmetic: ``float32``, ``bfloat16`` or ``float16``; joined by ``+`` where it changed."""
        ...

    @property
    def parallel(self) -> int:
        """Calls that it takes at the same time, each from a thread of its own."""
        ...

    @property
    def batch(self) -> int:
        """Rows that a call should have; more than one where that is faster."""
        ...

    @property
    def notices(self) -> Sequence[Notice]:
        """What the owner of the job should know of how it was computed."""
        ...

    @property
    def recycles(self) -> bool:
        """Whether it keeps the memory that segments need for the next: `pipeline.allocator`."""
        ...

    def run(self, member: int, window: torch.Tensor) -> torch.Tensor:
        """Separate segments, each row for itself; equal calls give equal bits.

        Args:
            member: place of the network in the model.
            window: float32 (rows, 2, n) on the CPU: the stereo pairs of one segment or of several, n samples
                at most a segment.

        Returns:
            float32 (rows, stems, 2, n) on the CPU.

        Raises:
            MemoryExhausted: the host or the device ran out of memory.
        """
        ...

    def rest(self) -> None:
        """Give the memory that segments needed back, between jobs; the next segment takes it again."""
        ...


class Separator(Protocol):
    """Mix in, stems out, as a stream: no separator ever holds a whole recording."""

    stems: tuple[str, ...]
    """Names of the stems it makes, in the order of the first axis of every block."""
    complete: bool
    """Whether those are all the stems of the model, so that what they leave of the mix is the residual."""
    weights_sha256: str | None
    """Content hash of the network's tensors; None without weights."""
    device: str
    """Where it computes: ``cpu`` or ``cuda``; ``cuda+cpu`` where a GPU did not last."""
    precision: str
    """Arithmetic, as the manifest reports it."""
    parameters: dict[str, Any]
    """Everything else that decides the result, for the manifest."""
    notices: Sequence[Notice]
    """What the owner of the job should know of how it was computed; complete when the last block is there."""

    def separate(
        self,
        mix: Audio,
        *,
        scratch: Path,
        step: Callable[[float], None],
        cancel: CancelToken,
        checkpoint: Checkpoint | None = None,
    ) -> Iterator[FloatArray]:
        """Separate a recording of any length, sample rate and channel count.

        Args:
            mix: the recording.
            scratch: folder for temporary files; whoever calls removes it.
            step: told the fraction done, 0..1, after every segment.
            cancel: looked at before every segment.
            checkpoint: where an attempt that was interrupted left its blocks, and this one leaves its own:
                the result is bit for bit that of one uninterrupted attempt.

        Yields:
            float32 (stems, channels, n) consecutive blocks at the mix's sample rate that add up to
            exactly ``mix.length`` samples.

        Raises:
            Cancelled: `cancel` was raised.
            MemoryExhausted: the host or the device ran out of memory.
        """
        ...
