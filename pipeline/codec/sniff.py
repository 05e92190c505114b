"""What the first bytes of a file say, before any decoder sees them.

Decoders are forgiving where a user needs the truth: ffmpeg plays half a WAV without a word. These checks
read a few headers themselves, and only to refuse or to warn.
"""

from __future__ import annotations

import struct
from typing import Final

from pipeline.codec.source import Source
from pipeline.errors import AudioEncrypted, AudioHeaderOnly, AudioTruncated, InputIsPlaylist, InputIsWebPage

_HEAD = 4096
_PAGE = ("<!doctype html", "<html", "<?xml", "<head", "<script")
_PLAYLIST = ("#extm3u", "ffconcat", "[playlist]", "#ext-x-", "[reference]", "<asx", "file '", 'file "')
_OPEN_ENDED: Final = 0x7FFFF000
"""RIFF sizes from here up (or 0) are what streaming writers leave behind who could not seek back."""


def refuse_impostors(source: Source) -> None:
    """Refuse what only pretends to be audio.

    Raises:
        InputIsWebPage: HTML or XML.
        InputIsPlaylist: a text that points at other files.
        AudioHeaderOnly: a RIFF, AIFF or FLAC header with nothing behind it.
        AudioTruncated: an MP4 whose index was never written.
        AudioEncrypted: an MP4 with a protection scheme.
    """
    head = source.read_at(0, _HEAD)
    text = head.lstrip(b"\xef\xbb\xbf\x00 \t\r\n")[:512].decode("latin-1").lower()
    if text.startswith(_PAGE):
        raise InputIsWebPage(
            f"{source.filename!r} is a web page, not a recording.",
            "The download link may have expired or need a login: download the file again.",
        )
    if text.startswith(_PLAYLIST):
        raise InputIsPlaylist(
            f"{source.filename!r} is a playlist: it names other files and holds no audio.",
            "Give the audio files themselves.",
        )
    if head[:4] in (b"RIFF", b"RF64", b"FORM", b"fLaC") and source.size <= 44:
        raise _header_only(source)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        _check_mp4(source)


def pcm_bytes_claimed(source: Source) -> tuple[int, int] | None:
    """How much audio a WAV header claims against what the file holds.

    Returns:
        (claimed, present) bytes of the data chunk; None for other containers and for the open-ended
        lengths that streaming writers use.

    Raises:
        AudioHeaderOnly: no data chunk, or an empty one at the end of the file.
    """
    head = source.read_at(0, 12)
    if head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
        return None
    riff_size = struct.unpack("<I", head[4:8])[0]
    offset, ds64 = 12, None
    while offset + 8 <= source.size:
        name, size = struct.unpack("<4sI", source.read_at(offset, 8))
        if name == b"ds64":
            ds64 = struct.unpack("<Q", source.read_at(offset + 16, 8))[0]
        if name == b"data":
            present = source.size - offset - 8
            # Nothing, or nothing but the chunks that follow an empty one.
            if present == 0 or (size == 0 and present < _HEAD):
                raise _header_only(source)
            claimed = ds64 if ds64 is not None and size == 0xFFFFFFFF else size
            open_ended = ds64 is None and _is_open_ended(size) and _is_open_ended(riff_size)
            return None if open_ended else (claimed, present)
        offset += 8 + size + (size & 1)
    raise _header_only(source)


def ogg_end(source: Source) -> str:
    """How an Ogg file ends.

    Returns:
        ``cut`` when the last page is incomplete, ``open`` when it is complete but not marked as the last
        one (RFC 3533, section 6), ``closed`` otherwise.
    """
    # A page has at most 27 + 255 + 255 * 255 bytes.
    start = max(source.size - (1 << 17), 0)
    tail = source.read_at(start, 1 << 17)
    at = tail.rfind(b"OggS")
    if at < 0 or len(tail) < at + 27:
        return "cut"
    segments = tail[at + 26]
    table = tail[at + 27 : at + 27 + segments]
    if len(table) < segments or len(tail) < at + 27 + segments + sum(table):
        return "cut"
    return "closed" if tail[at + 5] & 0x04 else "open"


def _is_open_ended(size: int) -> bool:
    return size == 0 or size >= _OPEN_ENDED


def _header_only(source: Source) -> AudioHeaderOnly:
    return AudioHeaderOnly(
        f"{source.filename!r} is a header without audio behind it.", "Export or download it again."
    )


def _check_mp4(source: Source) -> None:
    """Walk the top-level boxes (ISO/IEC 14496-12, 4.2) to the index and look into it."""
    offset = 0
    while offset + 8 <= source.size:
        size, kind = struct.unpack(">I4s", source.read_at(offset, 8))
        header = 8
        if size == 1:
            wide = source.read_at(offset + 8, 8)
            if len(wide) < 8:
                break
            size, header = struct.unpack(">Q", wide)[0], 16
        elif size == 0:
            size = source.size - offset
        if size < header:
            break
        if kind == b"moov":
            _refuse_protected(source, source.read_at(offset, min(size, 32 << 20)))
            return
        offset += size
    raise AudioTruncated(
        f"{source.filename!r} was cut off: its index (moov) is missing.",
        "Copy or download it again; a recording that crashed can often be repaired with its camera's tool.",
    )


def _refuse_protected(source: Source, moov: bytes) -> None:
    at = moov.find(b"sinf")
    while at >= 0:
        # A protection scheme box opens with the original format: 'sinf' size 'frma' (ISO/IEC 14496-12, 8.12).
        if moov[at + 8 : at + 12] == b"frma":
            raise AudioEncrypted(
                f"{source.filename!r} is encrypted or protected by DRM.",
                "Use a copy without protection: an own recording, a CD rip, or a purchase without DRM.",
            )
        at = moov.find(b"sinf", at + 1)
