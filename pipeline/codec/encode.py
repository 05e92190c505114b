"""Encode: float32 samples in, a finished audio file out."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from typing_extensions import Buffer

from pipeline.audio import Audio, FloatArray
from pipeline.codec.formats import Format
from pipeline.codec.process import Process
from pipeline.errors import DiskFull, ToolFailed
from pipeline.progress import CancelToken
from pipeline.resample import resample, resampled_length
from pipeline.scratch import disk_errors

_MEMORY_BYTES = 2 << 30
_TIMEOUT_S = 3600.0
_RIFF_LIMIT = (4 << 30) - (1 << 20)
"""A WAV beyond 4 GiB becomes RF64 (EBU Tech 3306): the same but for 64-bit lengths."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A file that was written.

    Attributes:
        bytes: its size.
        sha256: hash of its bytes.
        samples: per channel.
        sample_rate: Hz.
    """

    bytes: int
    sha256: str
    samples: int
    sample_rate: int


def encode(audio: Audio, path: Path, fmt: Format, *, gain: float = 1.0, cancel: CancelToken) -> Encoded:
    """Write audio to a file, block by block.

    The same audio always gives the same bytes: no dates, no tool versions, no random serials.

    Args:
        audio: what to write.
        path: file to create.
        fmt: its format.
        gain: linear factor applied to every sample.
        cancel: looked at between blocks.

    Raises:
        DiskFull: no space left.
        OutputUnwritable: the file cannot be written.
        ToolFailed: ffmpeg could not encode.
        MemoryExhausted: the machine killed ffmpeg.
        ToolMissing: ffmpeg is not installed.
        Cancelled: `cancel` was raised.
    """
    sample_rate = fmt.sample_rate(audio.sample_rate)
    blocks = _checked(audio.blocks(), np.float32(gain), cancel)
    if sample_rate != audio.sample_rate:
        blocks = resample(blocks, audio.sample_rate, sample_rate, audio.length)
    samples = resampled_length(audio.length, audio.sample_rate, sample_rate)
    write = _write_soundfile if fmt.writer == "soundfile" else _write_ffmpeg
    write(blocks, path, fmt, audio.channels, sample_rate, samples)
    size, sha256 = hash_file(path)
    return Encoded(size, sha256, samples, sample_rate)


def hash_file(path: Path) -> tuple[int, str]:
    """Size in bytes and SHA-256 of a file, flushed to disk first.

    Raises:
        DiskFull: some disks notice only now that they have no space left.
        OutputUnwritable: the operating system refuses.
    """
    with disk_errors("a stem"), path.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()


def to_integer(block: FloatArray, bits: int) -> npt.NDArray[np.int32]:
    """Round samples to ``bits`` and place them in the top of an int32.

    libsndfile would scale by 2^(bits-1) - 1 and so move every sample by a part in eight million; this scale
    is the one that decoders divide by, so what came from an integer file goes back unchanged.
    """
    full = 2 ** (bits - 1)
    steps = np.rint(block.astype(np.float64) * full)
    placed: npt.NDArray[np.int32] = np.left_shift(
        np.clip(steps, -full, full - 1).astype(np.int32), np.int32(32 - bits)
    )
    return placed


def _checked(blocks: Iterator[FloatArray], gain: np.float32, cancel: CancelToken) -> Iterator[FloatArray]:
    for block in blocks:
        cancel.check()
        yield block if gain == 1.0 else block * gain


def _write_soundfile(
    blocks: Iterator[FloatArray], path: Path, fmt: Format, channels: int, sample_rate: int, samples: int
) -> None:
    container = fmt.extension.upper()
    if container == "WAV" and samples * channels * fmt.bits // 8 > _RIFF_LIMIT:
        container = "RF64"
    with disk_errors(path.name), _ErrorKeepingFile(path, "wb") as raw:
        try:
            with soundfile.SoundFile(
                raw, "w", sample_rate, channels, subtype=f"PCM_{fmt.bits}", format=container
            ) as file:
                for block in blocks:
                    file.write(to_integer(block, fmt.bits).T)
        except (soundfile.SoundFileError, AssertionError) as exc:
            raise raw.error or _failed(path, str(exc)) from exc
        if raw.error is not None:
            raise raw.error


class _ErrorKeepingFile(io.FileIO):
    """A file that remembers why a write failed: libsndfile calls it from C, where no exception can pass."""

    error: OSError | None = None

    def write(self, data: Buffer, /) -> int:
        rest = memoryview(data)
        try:
            while rest:  # The last write before a disk is full may be a part.
                rest = rest[super().write(rest) :]
        except OSError as exc:
            self.error = exc
        return len(memoryview(data)) - len(rest)


def _write_ffmpeg(
    blocks: Iterator[FloatArray], path: Path, fmt: Format, channels: int, sample_rate: int, samples: int
) -> None:
    argv = ["ffmpeg", "-hide_banner", "-v", "error", "-y", "-threads", "1"]
    argv += ["-f", "f32le", "-ar", str(sample_rate), "-ac", str(channels), "-i", "pipe:0"]
    argv += [*fmt.arguments, "-map_metadata", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact"]
    argv += [f"file:{path.absolute()}"]
    with Process(
        argv, memory_bytes=_MEMORY_BYTES, timeout_s=_TIMEOUT_S, writes=True, stdin=subprocess.PIPE
    ) as tool:
        try:
            for block in blocks:
                tool.stdin.write(np.ascontiguousarray(block.T, dtype="<f4").data)
            tool.stdin.close()
        except BrokenPipeError:
            pass  # It gave up; its exit status and message say why.
        if tool.wait() != 0:
            raise _failed(path, tool.messages)


def _failed(path: Path, reason: str) -> DiskFull | ToolFailed:
    if "No space left" in reason or "quota" in reason:
        return DiskFull(
            f"The disk is full: {path.name} could not be written.", "Free some space and try again."
        )
    last = reason.strip().splitlines()[-1][:200] if reason.strip() else "no reason given"
    return ToolFailed(f"{path.name} could not be encoded: {last}.", "Try another format.")
