"""Probe: what a recording says about itself, before it is decoded."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pipeline.codec.process import CODECS, CONTAINERS, Process
from pipeline.codec.sniff import ogg_end, pcm_bytes_claimed, refuse_impostors
from pipeline.codec.source import Source
from pipeline.config import Limits
from pipeline.errors import (
    AudioCodecUnsupported,
    AudioHeaderMismatch,
    AudioHeaderOnly,
    AudioMissing,
    AudioTruncated,
    ChannelsUnsupported,
    DecodeTimeout,
    InputError,
    InputNotAudio,
    SampleRateUnsupported,
)
from pipeline.layout import speakers_of
from pipeline.manifest import Notice

MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 8_000, 192_000
MAX_CHANNELS = 8
_OUTPUT_CAP = 4 << 20
_STREAM_FIELDS = "codec_type,codec_name,sample_rate,channels,channel_layout,duration"
_TAG_COUNT, _TAG_KEY, _TAG_VALUE = 64, 64, 1024


@dataclass(frozen=True, slots=True)
class Probe:
    """What the header claims.

    Attributes:
        container: ffmpeg's short name of the container.
        codec: ffmpeg's name of the audio codec.
        sample_rate: Hz.
        channels: 1..8.
        speakers: one label a channel.
        claimed_s: length that the header states in seconds; None where it states none, or only a guess.
        tags: title, artist …: at most 64, each cut at 1,024 characters.
        notices: what the user should know.
    """

    container: str
    codec: str
    sample_rate: int
    channels: int
    speakers: tuple[str, ...]
    claimed_s: float | None
    tags: dict[str, str] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()


def probe(source: Source, limits: Limits, *, accept_damaged: bool = False) -> Probe:
    """Find out what a file is, without decoding it.

    Args:
        source: the open file.
        limits: bounds on time and memory.
        accept_damaged: go on with files that are certainly cut off.

    Raises:
        InputError: one of its leaves, when the file cannot be used.
        MemoryExhausted: the machine killed ffprobe.
        ToolMissing: ffprobe is not installed.
    """
    refuse_impostors(source)
    notices: list[Notice] = []
    claimed_s = None
    container_says, streams, messages = _ffprobe(source, limits)
    audio = [stream for stream in streams if stream.get("codec_type") == "audio"]
    if not audio:
        raise _nothing_heard(source, streams)
    stream = audio[0]
    container = str(container_says.get("format_name", "")).split(",")[0]
    codec = str(stream.get("codec_name", "unknown"))
    if codec not in CODECS.split(","):
        raise AudioCodecUnsupported(
            f"{source.filename!r} holds audio in the codec {codec!r}, which is not supported.",
            "Convert it to FLAC or WAV.",
        )
    sample_rate, channels = _shape(source, stream)
    if container == "wav":
        claimed_s = _check_wav(source, stream, notices, accept_damaged)
    elif container == "ogg":
        _check_ogg(source, notices, accept_damaged)
    elif container != "matroska" and "Estimating duration" not in messages:
        # Matroska states the length of the whole film, not of its sound; the decoder notices its cuts.
        claimed_s = _seconds(stream.get("duration"))
    if len(audio) > 1:
        notices.append(
            Notice(code="several_tracks", message=f"{len(audio)} audio tracks; the first was used.")
        )
    layout = stream.get("channel_layout")
    return Probe(
        container=container,
        codec=codec,
        sample_rate=sample_rate,
        channels=channels,
        speakers=speakers_of(str(layout) if layout else None, channels),
        claimed_s=claimed_s,
        tags=_tags({**container_says.get("tags", {}), **stream.get("tags", {})}),
        notices=tuple(notices),
    )


def _ffprobe(source: Source, limits: Limits) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    plain = f"format=format_name:stream={_STREAM_FIELDS}"
    for wanted in (f"{plain}:format_tags:stream_tags", plain):
        argv = ["ffprobe", "-hide_banner", "-v", "warning", "-protocol_whitelist", "file"]
        # No codec whitelist here: ffprobe gives up on a film, or on a song with a cover picture, when it
        # may not open the picture's decoder. The limits of the process hold all the same.
        argv += ["-format_whitelist", CONTAINERS, "-print_format", "json"]
        argv += ["-show_entries", wanted, "-i", source.url]
        with Process(
            argv,
            memory_bytes=limits.decoder_memory_bytes,
            timeout_s=limits.probe_timeout_s,
            pass_fds=[source.fd],
        ) as tool:
            raw = tool.stdout.read(_OUTPUT_CAP)
            # More than the cap is tags by the megabyte: ask again without them.
            if len(raw) == _OUTPUT_CAP:
                continue
            tool.wait()
            if tool.timed_out:
                raise DecodeTimeout(
                    f"{source.filename!r} took longer than {limits.probe_timeout_s:.0f} s to examine.",
                    "Convert it to FLAC or WAV.",
                )
            messages = tool.messages
        try:
            found = json.loads(raw.decode("utf-8", "replace"))
        except ValueError:
            found = {}
        return found.get("format", {}), found.get("streams", []), messages
    return {}, [], ""


def _nothing_heard(source: Source, streams: list[dict[str, Any]]) -> InputError:
    if streams:
        return AudioMissing(
            f"{source.filename!r} has no audio track.",
            "Give a file with sound, or export the video with its audio.",
        )
    if source.read_at(0, 4) in (b"RIFF", b"RF64", b"FORM", b"fLaC"):
        return AudioHeaderOnly(
            f"{source.filename!r} starts like audio but holds none that can be read.",
            "Export or download it again.",
        )
    if source.read_at(0, 4) == b"OggS":
        return truncated(source)  # Not even its first page of audio is whole.
    return InputNotAudio(
        f"{source.filename!r} is not a supported audio or video file.",
        "Supported: WAV, FLAC, MP3, Ogg, Opus, M4A/AAC, AIFF, CAF, and the sound of MP4, MOV, MKV, WebM.",
    )


def _shape(source: Source, stream: dict[str, Any]) -> tuple[int, int]:
    sample_rate, channels = int(stream.get("sample_rate") or 0), int(stream.get("channels") or 0)
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise SampleRateUnsupported(
            f"{source.filename!r} has a sample rate of {sample_rate} Hz; 8,000 to 192,000 Hz are supported.",
            "Convert it to 44,100 or 48,000 Hz.",
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise ChannelsUnsupported(
            f"{source.filename!r} has {channels} channels; 1 to {MAX_CHANNELS} are supported.",
            "Export a stereo mix.",
        )
    return sample_rate, channels


def _check_wav(
    source: Source, stream: dict[str, Any], notices: list[Notice], accept_damaged: bool
) -> float | None:
    sizes = pcm_bytes_claimed(source)
    if sizes is None:
        notices.append(
            Notice(
                code="length_unstated", message="The WAV header states no length; all that follows was read."
            )
        )
        return None
    claimed, present = sizes
    seconds = _seconds(stream.get("duration"))
    if claimed > present:
        if not accept_damaged:
            raise header_mismatch(source) if claimed > LIE * present else truncated(source)
        notices.append(CUT_OFF)
    return seconds


def _check_ogg(source: Source, notices: list[Notice], accept_damaged: bool) -> None:
    end = ogg_end(source)
    if end == "cut" and not accept_damaged:
        raise truncated(source)
    if end != "closed":
        notices.append(
            Notice(code="end_unmarked", message="The file has no end mark: it may have been cut off.")
        )


CUT_OFF = Notice(code="truncated", message="The file ends before its stated length; what is there was used.")

LIE = 10
"""A header that claims over ten times what is there was not cut short on the way: it is wrong."""


def truncated(source: Source) -> AudioTruncated:
    """The error for a file that ends too early."""
    return AudioTruncated(
        f"{source.filename!r} ends before the length that its header states.",
        "Copy, download or export it again; or accept damaged files to use what is there.",
    )


def header_mismatch(source: Source) -> AudioHeaderMismatch:
    """The error for a header that claims what cannot be."""
    return AudioHeaderMismatch(
        f"The header of {source.filename!r} claims a length that the file does not have.",
        "Export it again; or accept damaged files to use what is there.",
    )


def _seconds(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None


def _tags(raw: dict[str, Any]) -> dict[str, str]:
    cut = {str(key).lower()[:_TAG_KEY]: str(value)[:_TAG_VALUE] for key, value in raw.items()}
    return dict(list(cut.items())[:_TAG_COUNT])
