"""Finds recordings: what is named, what lies in folders, and what matches a pattern."""

from __future__ import annotations

from collections.abc import Iterable
from glob import glob, has_magic
from pathlib import Path

from pipeline.errors import InputNotFound

AUDIO_SUFFIXES = frozenset(
    [
        ".wav", ".wave", ".w64", ".rf64", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac",
        ".aif", ".aiff", ".aifc", ".caf", ".mp4", ".m4v", ".mov", ".mkv", ".mka", ".webm",
    ]
)  # fmt: skip
"""What is picked from a folder. A file that is named is tried whatever its suffix."""


def recordings_below(folder: Path) -> list[Path]:
    """The audio files in a folder and in those below it, in order of their names.

    Raises:
        InputNotFound: there is none.
    """
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES and p.is_file())
    if not found:
        raise InputNotFound(f"There is no audio file in {str(folder)!r}.", "Check the folder.")
    return found


def expanded(given: Iterable[Path]) -> list[Path]:
    """Files as they are named, folders and patterns by what is in them, each once.

    Args:
        given: files, folders, or patterns such as ``album/*.flac`` that no shell has expanded; ``**`` is any
            number of folders.

    Raises:
        InputNotFound: a folder or a pattern has no audio file.
    """
    found: dict[Path, None] = {}
    for path in given:
        if path.is_dir():
            found.update(dict.fromkeys(recordings_below(path)))
        elif has_magic(str(path)) and not path.exists():
            found.update(dict.fromkeys(_matching(str(path))))
        else:
            found[path] = None
    return list(found)


def _matching(pattern: str) -> list[Path]:
    matches = sorted(Path(name) for name in glob(pattern, recursive=True))
    files = [path for path in matches if path.is_file() and path.suffix.lower() in AUDIO_SUFFIXES]
    for folder in (path for path in matches if path.is_dir() and not pattern.endswith("**")):
        files += recordings_below(folder)
    if not files:
        raise InputNotFound(f"Nothing matches {pattern!r}.", "Check the pattern.")
    return files
