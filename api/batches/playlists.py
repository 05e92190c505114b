"""Reads lists of recordings that other programs write: M3U, PLS and XSPF playlists, and tables as CSV."""

from __future__ import annotations

import configparser
import csv
import io
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final
from xml.etree import ElementTree

from api.errors import InvalidRequest
from pipeline.codec.source import printable

_XSPF: Final = "{http://xspf.org/ns/0/}"
_HOW: Final = "docs/api.md shows how batches are sent."


def read_m3u(text: str) -> list[str]:
    """The entries of an M3U or M3U8 playlist: every line that is no comment.

    Raises:
        InvalidRequest: it lists the segments of a stream (RFC 8216), which are no recordings.
    """
    lines = [line.strip() for line in text.splitlines()]
    if any(line.startswith("#EXT-X-") for line in lines):
        raise InvalidRequest("This playlist is of a stream, not of recordings.", "List whole files.")
    return [line for line in lines if line and not line.startswith("#")]


def read_pls(text: str) -> list[str]:
    """The entries of a PLS playlist: ``FileN`` of its one section, by their numbers.

    Raises:
        InvalidRequest: it is none.
    """
    parser = configparser.ConfigParser(interpolation=None, strict=False, delimiters=("=",))
    try:
        parser.read_string(text)
        section = next(parser[name] for name in parser.sections() if name.lower() == "playlist")
    except (configparser.Error, StopIteration) as exc:
        raise InvalidRequest("The body is no PLS playlist.", _HOW) from exc
    files = {name[4:]: value for name, value in section.items() if name.startswith("file")}
    return [files[number] for number in sorted((n for n in files if n.isdecimal()), key=int)]


def read_xspf(text: str) -> list[str]:
    """The entries of an XSPF playlist (version 1): the first location of each track.

    Raises:
        InvalidRequest: it is none, or has a document type, whose entities could grow or lead elsewhere.
    """
    if "<!DOCTYPE" in text:
        raise InvalidRequest("An XSPF playlist has no document type.", "Leave the DOCTYPE out.")
    try:
        # As text: then a declared encoding counts for nothing, and what was looked for above was found.
        root = ElementTree.fromstring(text)  # noqa: S314 - without a document type there are no entities
    except (ElementTree.ParseError, ValueError) as exc:
        raise InvalidRequest("The body is no XML.", _HOW) from exc
    if root.tag != f"{_XSPF}playlist":
        raise InvalidRequest("The body is no XSPF playlist.", _HOW)
    tracks = root.findall(f"{_XSPF}trackList/{_XSPF}track/{_XSPF}location[1]")
    return [(location.text or "").strip() for location in tracks]


PLAYLISTS: Final[Mapping[str, Callable[[str], list[str]]]] = {
    "audio/x-mpegurl": read_m3u,
    "audio/mpegurl": read_m3u,
    "application/x-mpegurl": read_m3u,
    "application/vnd.apple.mpegurl": read_m3u,
    "audio/x-scpls": read_pls,
    "application/xspf+xml": read_xspf,
}
"""Media type -> what reads it."""


def read_csv(text: str, fields: Collection[str]) -> list[dict[str, Any]]:
    """The rows of a table; its first line names the fields, and an empty cell is one that is left out.

    Args:
        text: comma-separated values (RFC 4180).
        fields: that an item may have.

    Raises:
        InvalidRequest: it is no table, or a column is named like no field.
    """
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as exc:
        raise InvalidRequest(f"The table is broken: {exc}.", _HOW) from exc
    names = [name.strip() for name in rows[0]] if rows else []
    unknown = [name for name in names if name not in fields]
    if not names or unknown or len(set(names)) < len(names):
        said = printable(unknown[0])[:64] if unknown else "comes twice" if names else "is missing"
        raise InvalidRequest(
            f"The first line of the table must name its fields: {said!r}.", f"They are {', '.join(fields)}."
        )
    return [
        {name: cell.strip() for name, cell in zip(names, row, strict=False) if cell.strip()}
        for row in rows[1:]
        if any(cell.strip() for cell in row)
    ]
