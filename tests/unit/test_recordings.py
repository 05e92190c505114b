from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import InputNotFound
from pipeline.recordings import expanded


@pytest.fixture
def album(tmp_path: Path) -> Path:
    for name in ("b.flac", "a.mp3", "cover.jpg", "live/c.WAV", "odd[1].wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(album: Path, *given: str) -> list[str]:
    return [str(path.relative_to(album)) for path in expanded(album / one for one in given)]


def test_folders_and_patterns_become_the_recordings_in_them_each_once(album: Path) -> None:
    assert names(album, "") == ["a.mp3", "b.flac", "live/c.WAV", "odd[1].wav"]
    assert names(album, "*.mp3", "b.flac", "*") == ["a.mp3", "b.flac", "odd[1].wav", "live/c.WAV"]
    assert names(album, "**/*.WAV") == ["live/c.WAV"]


def test_a_file_that_is_named_is_taken_as_it_is(album: Path) -> None:
    assert names(album, "cover.jpg", "odd[1].wav", "missing.wav") == [
        "cover.jpg",
        "odd[1].wav",
        "missing.wav",
    ]


def test_what_has_no_recording_is_said(album: Path) -> None:
    (album / "empty").mkdir()
    for given in ("empty", "*.xyz"):
        with pytest.raises(InputNotFound):
            expanded([album / given])
