"""A spectrogram shows what sounds, where it sounds."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from api.encryption.stored import Stored
from api.jobs.listening import Whole
from api.jobs.spectrogram import spectrogram
from pipeline.audio import BLOCK_SAMPLES, Audio, FloatArray

RATE = 44100
HEIGHT = 200


def whole(samples: FloatArray, size: int = BLOCK_SAMPLES, sha256: str = "0" * 64) -> Whole:
    audio = Audio(samples, RATE)
    return Whole("mix", sha256, RATE, audio.length, audio.blocks(size))


def sine(hz: float, seconds: float, level: float = 1.0) -> FloatArray:
    t = np.arange(round(seconds * RATE)) / RATE
    return np.stack([level * np.sin(2 * np.pi * hz * t)] * 2).astype(np.float32)


def pixels(png: bytes) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Palette and levels of a picture; every checksum is looked at."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    sections, at = {}, 8
    while at < len(png):
        (size,) = struct.unpack_from(">I", png, at)
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", png, at + 8 + size)[0] == zlib.crc32(kind + data)
        sections[kind], at = data, at + 12 + size
    width, height, *rest = struct.unpack(">IIBBBBB", sections[b"IHDR"])
    assert rest == [8, 3, 0, 0, 0]
    lines = np.frombuffer(zlib.decompress(sections[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not lines[:, 0].any()
    return np.frombuffer(sections[b"PLTE"], np.uint8).reshape(256, 3), lines[:, 1:]


def row_of(hz: float) -> int:
    return HEIGHT - 1 - int(HEIGHT * np.log(hz / 30.0) / np.log(20_000.0 / 30.0))


@pytest.mark.parametrize("hz", [60.0, 440.0, 3000.0, 15000.0])
def test_a_tone_is_a_line_at_its_pitch(hz: float, tmp_path: Path) -> None:
    palette, levels = pixels(spectrogram(whole(sine(hz, 3.0, 0.1)), 300, HEIGHT, Stored.plain(tmp_path)))
    assert levels.shape == (HEIGHT, 300)
    # A frame tells pitches apart that are 11 Hz from each other.
    assert row_of(hz + 6) - 1 <= int(levels[:, 150].argmax()) <= row_of(hz - 6) + 1
    assert palette[0].tolist() == [0, 0, 4] and palette[255].tolist() == [252, 253, 191]


def test_level_and_time_are_where_they_belong(tmp_path: Path) -> None:
    quiet = np.concatenate([np.zeros((2, RATE), np.float32), sine(1000.0, 1.0, 10 ** (-50 / 20))], axis=1)
    _, levels = pixels(spectrogram(whole(quiet), 200, HEIGHT, Stored.plain(tmp_path)))
    line = levels[row_of(1000.0) - 1 : row_of(1000.0) + 2].max(axis=0)
    assert not line[:90].any()
    assert np.abs(line[110:190].astype(int) - 255 * 40 / 80).max() <= 6


def test_a_click_in_a_long_recording_is_not_lost(tmp_path: Path) -> None:
    samples = np.zeros((1, 120 * RATE), np.float32)
    samples[0, 60 * RATE + 12345] = 1.0
    _, levels = pixels(spectrogram(whole(samples), 100, HEIGHT, Stored.plain(tmp_path)))
    assert np.flatnonzero(levels.any(axis=0)).tolist() == [50]


def test_how_the_audio_comes_makes_no_difference(tmp_path: Path) -> None:
    samples = sine(440.0, 2.0) + sine(5000.0, 2.0, 0.1)
    pictures = {
        spectrogram(whole(samples, size), 123, HEIGHT, Stored.plain(tmp_path / str(size)))
        for size in (997, 70_000)
    }
    assert len(pictures) == 1


@pytest.mark.parametrize("samples", [1, 50, 5000])
def test_the_shortest_recordings_have_a_picture_too(samples: int, tmp_path: Path) -> None:
    _, levels = pixels(spectrogram(whole(sine(440.0, samples / RATE)), 1600, HEIGHT, Stored.plain(tmp_path)))
    assert 1 <= levels.shape[1] <= 1600


def test_it_is_drawn_once(tmp_path: Path) -> None:
    first = spectrogram(whole(sine(440.0, 1.0)), 100, 50, Stored.plain(tmp_path))

    def never() -> Iterator[FloatArray]:
        raise AssertionError("it was read again")
        yield

    assert spectrogram(Whole("mix", "0" * 64, RATE, RATE, never()), 100, 50, Stored.plain(tmp_path)) == first
    assert [path.suffix for path in tmp_path.iterdir()] == [".png"]
