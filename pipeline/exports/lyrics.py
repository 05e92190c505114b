"""Lyrics with times: LRC for players, SRT for video."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pipeline.annotations import LyricLine
from pipeline.exports.base import Material

PAUSE_S: Final = 2.0
"""A longer pause than this clears the screen."""

_SHORTEST_S: Final = 0.1
_PLAIN: Final = str.maketrans("<>", "\u2039\u203a")


class LrcExport:
    """``lyrics.lrc``: a line for each line, with its time in minutes, seconds and hundredths."""

    name = "lrc"
    needs = "lyrics"

    def write(self, material: Material, folder: Path) -> list[Path]:
        """Write the lines; an empty one clears the screen where the voice pauses."""
        lines = [] if not material.lyrics else [f"[ti:{material.title}]", f"[length:{_clock(material)}]"]
        for index, line in enumerate(material.lyrics):
            lines.append(f"[{_minutes(line.start_s)}]{' '.join(line.text.split())}")
            following = material.lyrics[index + 1 : index + 2]
            if not following or following[0].start_s > line.end_s + PAUSE_S:
                lines.append(f"[{_minutes(_end_s(line))}]")
        return _written(folder / "lyrics.lrc", lines)


class SrtExport:
    """``lyrics.srt``: SubRip's subtitles, a line each."""

    name = "srt"
    needs = "lyrics"

    def write(self, material: Material, folder: Path) -> list[Path]:
        """Write the subtitles."""
        lines = []
        for number, line in enumerate(material.lyrics, 1):
            # Players take what stands between < and > for a tag.
            text = " ".join(line.text.split()).translate(_PLAIN)
            lines += [str(number), f"{_hours(line.start_s)} --> {_hours(_end_s(line))}", text, ""]
        return _written(folder / "lyrics.srt", lines)


def _written(path: Path, lines: list[str]) -> list[Path]:
    if not lines:
        return []
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    return [path]


def _end_s(line: LyricLine) -> float:
    """When a line goes: what has no length is not shown."""
    return max(line.end_s, line.start_s + _SHORTEST_S)


def _clock(material: Material) -> str:
    minutes, seconds = divmod(round(material.duration_s), 60)
    return f"{minutes:02}:{seconds:02}"


def _minutes(time_s: float) -> str:
    minutes, hundredths = divmod(round(time_s * 100), 6000)
    return f"{minutes:02}:{hundredths // 100:02}.{hundredths % 100:02}"


def _hours(time_s: float) -> str:
    seconds, thousandths = divmod(round(time_s * 1000), 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02},{thousandths:03}"
