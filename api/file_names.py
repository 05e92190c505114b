"""Names of files as they are handed out."""

from __future__ import annotations

from pathlib import PurePosixPath


def title_of(filename: str) -> str:
    """A recording's name without its suffix and without anything that a file name should not hold."""
    stem = PurePosixPath(filename.replace("\\", "/")).name.rsplit(".", 1)[0]
    return "".join(c if c.isprintable() and c not in '/\\:*?"<>|' else "_" for c in stem)[:100] or "recording"
