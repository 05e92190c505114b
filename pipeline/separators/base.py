"""What a separator is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from pipeline.audio import Audio, FloatArray
from pipeline.checkpoint import Checkpoint
from pipeline.progress import CancelToken


class Separator(Protocol):
    """Mix in, stems out, as a stream: no separator ever holds a whole recording."""

    stems: tuple[str, ...]
    """Names of the stems it makes, in the order of the first axis of every block."""
    complete: bool
    """Whether those are all the stems of the model, so that what they leave of the mix is the residual."""
    weights_sha256: str | None
    """Content hash of the network's tensors; None without weights."""
    device: str
    """Where it computes: ``cpu`` or ``cuda``."""
    precision: str
    """Arithmetic, as the manifest reports it."""
    parameters: dict[str, Any]
    """Everything else that decides the result, for the manifest."""

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
