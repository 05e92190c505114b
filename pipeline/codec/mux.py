"""Puts encoded audio side by side into one file, unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pipeline.codec.process import Process
from pipeline.errors import DiskFull, ToolFailed

_MEMORY_BYTES: Final = 2 << 30
_TIMEOUT_S: Final = 1800.0


def mux(parts: Sequence[Path], path: Path) -> None:
    """Make an MP4 file with one audio track a part, the index at its end.

    Args:
        parts: files of ours with one audio track each.
        path: file to create.

    Raises:
        DiskFull: no space left.
        ToolFailed: ffmpeg could not do it.
        ToolMissing: ffmpeg is not installed.
        MemoryExhausted: the machine killed ffmpeg.
    """
    argv = ["ffmpeg", "-hide_banner", "-v", "error", "-nostdin", "-y"]
    for part in parts:
        argv += ["-i", f"file:{part.absolute()}"]
    for number in range(len(parts)):
        argv += ["-map", f"{number}:a:0"]
    argv += ["-c", "copy", "-map_metadata", "-1", "-fflags", "+bitexact", "-f", "mp4"]
    with Process(
        [*argv, f"file:{path.absolute()}"], memory_bytes=_MEMORY_BYTES, timeout_s=_TIMEOUT_S, writes=True
    ) as tool:
        if tool.wait() != 0:
            if "No space left" in tool.messages or "quota" in tool.messages:
                raise DiskFull(
                    f"The disk is full: {path.name} could not be written.", "Free some space and try again."
                )
            last = tool.messages.strip().splitlines()[-1:] or ["no reason given"]
            raise ToolFailed(f"{path.name} could not be made: {last[0][:200]}.", "Try again.")
