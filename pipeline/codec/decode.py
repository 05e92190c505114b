"""Decode: untrusted bytes in, float32 samples on disk out."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.audio import Audio, FloatArray
from pipeline.codec.probe import CUT_OFF, LIE, Probe, header_mismatch, truncated
from pipeline.codec.process import CODECS, CONTAINERS, Process
from pipeline.codec.source import Source
from pipeline.config import Limits
from pipeline.errors import (
    AudioHeaderOnly,
    AudioLevelInvalid,
    AudioNotFinite,
    AudioSilent,
    AudioTooLong,
    AudioTooShort,
    AudioUndecodable,
    DecodeTimeout,
)
from pipeline.manifest import Notice
from pipeline.progress import CancelToken
from pipeline.scratch import ScratchWriter

_READ_BYTES = 1 << 20
_SILENCE = 1e-5
"""Peak below which a recording is silent: -100 dBFS, under the dither of any 16-bit master."""
_ABSURD = 100.0
"""Peak above which float samples are no audio in -1..1: +40 dBFS, beyond any mixing desk's headroom."""
_EXPECTED = re.compile(r"not on whitelist|Failed to open codec in avformat_find_stream_info")
"""What ffmpeg says of picture tracks that it may not decode."""
_SLACK_S = 0.15
"""How much a codec's delay and padding may shorten what the header counts: a few frames of 1,152 to 4,096."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded recording.

    Attributes:
        audio: the mix, mapped from a scratch file.
        notices: what the user should know.
    """

    audio: Audio
    notices: tuple[Notice, ...]


def decode(
    source: Source,
    probe: Probe,
    scratch: Path,
    limits: Limits,
    *,
    accept_damaged: bool = False,
    step: Callable[[float], None] = lambda _: None,
    cancel: CancelToken | None = None,
) -> Decoded:
    """Decode the first audio track at its own sample rate and channel count.

    Samples are counted, never believed: decoding stops as soon as a limit is passed, whatever the
    header says.

    Args:
        source: the open file.
        probe: what its header claims.
        scratch: file to write the samples to.
        limits: bounds on length, size, time and memory.
        accept_damaged: use what can be decoded, and turn non-finite samples into zeros.
        step: told the fraction done where the header gives something to go by.
        cancel: looked at between reads.

    Raises:
        InputError: one of its leaves, when the audio cannot be used.
        Cancelled: `cancel` was raised.
        DiskFull: no space for the samples.
        MemoryExhausted: the machine killed ffmpeg.
        ToolMissing: ffmpeg is not installed.
    """
    check = _SampleCheck(source.filename, accept_damaged)
    with ScratchWriter(scratch, probe.channels) as writer, _decoder(source, probe, limits) as tool:
        for block in _blocks(tool, source, probe, limits):
            if cancel is not None:
                cancel.check()
            writer.write(check(block))
            if probe.claimed_s:
                step(writer.length / probe.sample_rate / probe.claimed_s)
        tool.wait()
        if tool.timed_out:
            raise DecodeTimeout(
                f"{source.filename!r} took longer than {limits.decode_timeout_s:.0f} s to decode.",
                "Convert it to FLAC or WAV.",
            )
        messages = tool.messages
        audio = writer.audio(probe.sample_rate, probe.speakers)
    notices = [*check.notices()]
    if audio.length == 0:
        raise _nothing_decoded(source, probe)
    notices += _check_length(source, probe, audio, messages, limits, accept_damaged)
    if audio.duration_s < limits.min_duration_s:
        raise AudioTooShort(
            f"{source.filename!r} has {audio.length} samples ({audio.duration_s:.3f} s); "
            f"at least {limits.min_duration_s:g} s are needed.",
            "Give a longer recording.",
        )
    if check.peak < _SILENCE:
        raise AudioSilent(
            f"{source.filename!r} is silent: there is nothing to separate.",
            "Check the export; the right track may be muted.",
        )
    return Decoded(audio, tuple(notices))


def decoded_blocks(source: Source, probe: Probe, limits: Limits) -> Generator[FloatArray]:
    """Decode a recording that has been accepted, for listening: the samples of `decode`, as they come.

    Whatever can be decoded is given; samples that are not numbers become zeros.

    Args:
        source: the open file.
        probe: what its header claims.
        limits: bounds on length, size, time and memory.

    Yields:
        float32 (channels, n) consecutive blocks.

    Raises:
        AudioTooLong: a limit is passed.
        ToolMissing: ffmpeg is not installed.
    """
    with _decoder(source, probe, limits) as tool:
        for block in _blocks(tool, source, probe, limits):
            yield np.nan_to_num(block, posinf=0.0, neginf=0.0)


def _decoder(source: Source, probe: Probe, limits: Limits) -> Process:
    argv = ["ffmpeg", "-hide_banner", "-nostdin", "-v", "repeat+error", "-threads", "1"]
    argv += ["-protocol_whitelist", "file", "-format_whitelist", CONTAINERS, "-codec_whitelist", CODECS]
    argv += ["-i", source.url, "-map", "0:a:0", "-vn", "-sn", "-dn", "-ac", str(probe.channels)]
    argv += ["-ar", str(probe.sample_rate), "-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"]
    return Process(
        argv,
        memory_bytes=limits.decoder_memory_bytes,
        timeout_s=limits.decode_timeout_s,
        pass_fds=[source.fd],
    )


def _blocks(tool: Process, source: Source, probe: Probe, limits: Limits) -> Iterator[FloatArray]:
    """Read what a decoder writes: float32 (channels, n), until it ends or a limit is passed."""
    cap = int(limits.max_duration_s * probe.sample_rate)
    frame_bytes = 4 * probe.channels
    length = 0
    rest = b""
    while chunk := tool.stdout.read(_READ_BYTES):
        rest += chunk
        whole = len(rest) - len(rest) % frame_bytes
        block = np.frombuffer(rest[:whole], dtype="<f4").reshape(-1, probe.channels).T
        rest = rest[whole:]
        length += block.shape[1]
        yield block
        if length > cap or length * frame_bytes > limits.max_decoded_bytes:
            raise _too_long(source, limits)


class _SampleCheck:
    """Looks at every block: finite, in a sane range, not all zero."""

    def __init__(self, filename: str, accept_damaged: bool) -> None:
        self._filename = filename
        self._accept_damaged = accept_damaged
        self._repaired = 0
        self.peak = 0.0

    def __call__(self, block: FloatArray) -> FloatArray:
        if block.size == 0:
            return block
        peak = float(np.abs(block).max())
        if not np.isfinite(peak):
            bad = ~np.isfinite(block)
            if not self._accept_damaged:
                raise AudioNotFinite(
                    f"{self._filename!r} contains samples that are not numbers (NaN or infinite).",
                    "Export it again; or accept damaged files to replace them with silence.",
                )
            self._repaired += int(bad.sum())
            block = np.where(bad, np.float32(0.0), block)
            peak = float(np.abs(block).max())
        if peak > _ABSURD:
            raise AudioLevelInvalid(
                f"{self._filename!r} contains samples of {peak:.3g} where full scale is 1.",
                "Normalise it: the export may have written integers as floats.",
            )
        self.peak = max(self.peak, peak)
        return block

    def notices(self) -> list[Notice]:
        if not self._repaired:
            return []
        return [
            Notice(code="samples_repaired", message=f"{self._repaired} non-finite samples were set to zero.")
        ]


def _too_long(source: Source, limits: Limits) -> AudioTooLong:
    return AudioTooLong(
        f"{source.filename!r} is longer than the limit of {limits.max_duration_s / 60:.0f} minutes "
        f"or {limits.max_decoded_bytes / 1e9:.0f} GB after decoding.",
        "Split it, or raise the limit.",
    )


def _nothing_decoded(source: Source, probe: Probe) -> AudioHeaderOnly | AudioUndecodable:
    if probe.claimed_s == 0.0 or probe.container in ("wav", "aiff", "caf"):
        return AudioHeaderOnly(
            f"{source.filename!r} is a header without audio behind it.", "Export or download it again."
        )
    return AudioUndecodable(
        f"{source.filename!r} could not be decoded: no audio came out of it.",
        "It may be damaged or protected: check that it plays, then convert it to FLAC or WAV.",
    )


def _check_length(
    source: Source, probe: Probe, audio: Audio, messages: str, limits: Limits, accept_damaged: bool
) -> list[Notice]:
    """Compare what was found with what the header claimed.

    Raises:
        AudioTruncated: the file ends too early.
        AudioHeaderMismatch: the header claims what cannot be.
    """
    notices = []
    claimed_s = probe.claimed_s or 0.0
    missing = claimed_s - audio.duration_s > max(_SLACK_S, 0.01 * claimed_s)
    if missing or "File ended prematurely" in messages:
        if not accept_damaged:
            lie = claimed_s > LIE * audio.duration_s or claimed_s > limits.max_duration_s
            raise header_mismatch(source) if lie else truncated(source)
        notices.append(CUT_OFF)
    elif count := sum(bool(line.strip()) and not _EXPECTED.search(line) for line in messages.splitlines()):
        notices.append(
            Notice(code="decoder_complained", message=f"The decoder reported {count} damaged places.")
        )
    return notices
