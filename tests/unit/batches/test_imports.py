from __future__ import annotations

from pathlib import Path

import pytest

from api.batches.imports import Imports
from api.errors import Forbidden, InvalidRequest, NotFound


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("import/b/2.flac", "import/b/1.WAV", "import/b/notes.txt", "import/a.mp3", "secret/x.wav"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "import/b/out.wav").symlink_to(tmp_path / "secret/x.wav")
    (tmp_path / "import/away").symlink_to(tmp_path / "secret")
    return tmp_path / "import"


def test_a_folder_is_the_recordings_below_it_and_none_that_a_link_leads_to(root: Path) -> None:
    imports = Imports(root)
    assert imports.files("b") == ["b/1.WAV", "b/2.flac"]
    assert imports.files(".") == ["a.mp3", "b/1.WAV", "b/2.flac"]
    assert imports.files("b/notes.txt") == ["b/notes.txt"]
    assert imports.file("b/1.WAV") == root / "b/1.WAV"


@pytest.mark.parametrize(
    "path", ["../secret/x.wav", "/etc/passwd", "b/out.wav", "away", "away/x.wav", "b/../../secret", "a\0"]
)
def test_nothing_outside_of_the_folder_is_reached(root: Path, path: str) -> None:
    for ask in (Imports(root).file, Imports(root).files):
        with pytest.raises(InvalidRequest):
            ask(path)


def test_what_is_not_there_is_said(root: Path) -> None:
    (root / "empty").mkdir()
    for path in ("no.wav", "empty"):
        with pytest.raises(NotFound):
            Imports(root).files(path)
    with pytest.raises(NotFound):
        Imports(root).file("b")


def test_without_a_folder_nothing_is_imported() -> None:
    with pytest.raises(Forbidden):
        Imports(None).files("a.mp3")
