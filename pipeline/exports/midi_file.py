"""Standard MIDI files, format 1 (MIDI 1.0, "Standard MIDI Files 1.0", RP-001): bytes from events."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

TICKS: Final = 480
"""A beat: divides into triplets and 64ths, and is what most sequencers use."""
DRUM_CHANNEL: Final = 9
"""Channel 10 of General MIDI, counted from 0."""

Event = tuple[int, int, bytes]
"""Tick, order among the events of a tick, and the message without its delta time."""

_META: Final = b"\xff"
_MOST_TEMPO: Final = (1 << 24) - 1


def name(text: str) -> Event:
    """The name of the track."""
    return 0, 0, _meta(0x03, text.encode("utf-8"))


def marker(tick: int, text: str) -> Event:
    """A marker."""
    return tick, 3, _meta(0x06, text.encode("utf-8"))


def tempo(tick: int, bpm: float) -> Event:
    """A change of tempo, exact to a microsecond a beat."""
    return tick, 1, _meta(0x51, min(max(round(60e6 / bpm), 1), _MOST_TEMPO).to_bytes(3, "big"))


def time_signature(tick: int, beats: int) -> Event:
    """So many quarters a bar."""
    return tick, 2, _meta(0x58, bytes((min(beats, 255), 2, 24, 8)))


def program(channel: int, number: int) -> Event:
    """The sound of a channel, by General MIDI's number from 0."""
    return 0, 4, bytes((0xC0 | channel, number))


def note(channel: int, start: int, stop: int, midi: int, velocity: int) -> tuple[Event, Event]:
    """A note from one tick to a later one."""
    # What ends at a tick ends before anything begins at it.
    off = (max(stop, start + 1), 5, bytes((0x80 | channel, midi, 0)))
    return (start, 6, bytes((0x90 | channel, midi, velocity))), off


def midi_file(tracks: Iterable[Iterable[Event]]) -> bytes:
    """Write a file.

    Args:
        tracks: events of each, in any order; the first carries tempo and time signatures.
    """
    chunks = [_chunk(b"MTrk", _track(events)) for events in tracks]
    return _chunk(b"MThd", struct.pack(">HHH", 1, len(chunks), TICKS)) + b"".join(chunks)


def _track(events: Iterable[Event]) -> bytes:
    out, now = bytearray(), 0
    for tick, _, message in sorted(events):
        out += _variable(tick - now) + message
        now = tick
    return bytes(out + _variable(0) + _meta(0x2F, b""))


def _meta(kind: int, data: bytes) -> bytes:
    return _META + bytes((kind,)) + _variable(len(data)) + data


def _variable(value: int) -> bytes:
    """A variable-length quantity: seven bits a byte, the highest bit set in all but the last."""
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(0x80 | value & 0x7F)
    return bytes(reversed(out))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack(">I", len(data)) + data
