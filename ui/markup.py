"""Pieces of HTML of our own design. Whatever is put into them is escaped: names of files are only text.

Streamlit reads Markdown in most of what it is given, so what others wrote is shown through this module or by
``st.text``, and in no other way.
"""

from __future__ import annotations

import unicodedata
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Final, Literal

import streamlit as st

_STYLE: Final = Path(__file__).with_name("style.css")
_ICON: Final = Path(__file__).with_name("icon.svg")

_TURNS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Unicode's marks and overrides of direction (UAX 9): what shows exe.mp3 where it says 3pm.exe."""

_SHORT: Final = 24
"""Characters of a cell that is kept in one line."""

Tone = Literal["neutral", "accent", "good", "bad"]
TONES: Final[dict[str, Tone]] = {
    "waiting": "neutral",
    "refused": "bad",
    "queued": "neutral",
    "running": "accent",
    "succeeded": "good",
    "failed": "bad",
    "cancelled": "neutral",
    "expired": "neutral",
    "valid": "good",
    "revoked": "neutral",
}


def style() -> None:
    """Put the style sheet into the page."""
    st.html(_STYLE)


def printable(text: str) -> str:
    """Text without what could turn or hide the text around it: controls, and marks that change direction."""
    shown = "".join("\N{REPLACEMENT CHARACTER}" if _disguises(c) else c for c in text)
    return shown.strip() or ("\N{EM DASH}" if text else "")


def _disguises(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Co", "Cs"} or character in _TURNS


def text(value: str) -> str:
    """Text as HTML. Its direction is its own, so that it cannot turn what stands beside it."""
    return f"<bdi>{escape(printable(value))}</bdi>"


def brand() -> None:
    """The product's mark."""
    # As a picture: Streamlit takes drawings out of HTML.
    drawing = b64encode(_ICON.read_bytes()).decode()
    st.html(f'<img class="ap-mark" alt="" src="data:image/svg+xml;base64,{drawing}">')


def waiting() -> None:
    """A bar that moves, for what nobody knows how long it takes."""
    st.html('<div class="ap-waiting" aria-hidden="true"><i></i></div>')


def title(value: str, lead: str = "", status: str = "", word: str = "") -> None:
    """The heading of a page.

    Args:
        value: what it is.
        lead: a sentence below it.
        status: one of `TONES`, shown beside it as `word`; none when empty.
        word: the status as a person reads it.
    """
    beside = pill(word, TONES.get(status, "neutral")) if status else ""
    below = f'<p class="ap-lead">{text(lead)}</p>' if lead else ""
    st.html(f'<header class="ap-title"><div><h1>{text(value)}</h1>{beside}</div>{below}</header>')


def heading(value: str, lead: str = "") -> None:
    """The heading of a part of a page, and a sentence below it."""
    below = f'<p class="ap-lead">{text(lead)}</p>' if lead else ""
    st.html(f'<div class="ap-heading"><h2>{text(value)}</h2>{below}</div>')


def aside(value: str) -> None:
    """A quiet sentence that belongs to what stands above it."""
    st.html(f'<p class="ap-aside">{text(value)}</p>')


def pill(value: str, tone: Tone) -> str:
    """A word in a coloured frame, as HTML."""
    return f'<span class="ap-pill ap-{tone}">{text(value)}</span>'


def notice(heading: str, lines: Sequence[str] = (), tone: Tone = "neutral", *, alert: bool = False) -> None:
    """Something that has to be said in the middle of a page.

    Args:
        heading: in a few words.
        lines: what is wrong, what to do.
        tone: how bad it is.
        alert: whether a screen reader should say it at once.
    """
    role = "alert" if alert else "status"
    body = "".join(f"<p>{text(line)}</p>" for line in lines if line)
    st.html(f'<div class="ap-notice ap-{tone}" role="{role}"><strong>{text(heading)}</strong>{body}</div>')


def blank(heading: str, hint: str) -> None:
    """What a page says that has nothing to show."""
    st.html(f'<div class="ap-blank"><h2>{text(heading)}</h2><p>{text(hint)}</p></div>')


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Names and values, in two columns."""
    rows = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in pairs)
    st.html(f'<dl class="ap-facts">{rows}</dl>')


def figure(label: str, value: str, unit: str = "", notes: Iterable[str] = ()) -> str:
    """A large number with its name, as HTML for `row`."""
    below = "".join(f"<span>{text(note)}</span>" for note in notes if note)
    beside = f" <small>{text(unit)}</small>" if unit else ""
    return (
        f'<div class="ap-figure"><dt>{text(label)}</dt><dd>{text(value)}{beside}</dd>'
        f'<dd class="ap-notes">{below}</dd></div>'
    )


def row(figures: Iterable[str]) -> None:
    """Figures side by side."""
    st.html(f'<dl class="ap-figures">{"".join(figures)}</dl>')


def scale(upright: Iterable[tuple[str, float]], along: Iterable[tuple[str, float]]) -> None:
    """Marks over a picture that stands before it in the same container.

    Args:
        upright: words with their place from the bottom, 0 to 1.
        along: words with their place from the left, 0 to 1.
    """
    lines = "".join(f'<i style="bottom:{100 * at:.2f}%">{text(word)}</i>' for word, at in upright)
    marks = "".join(f'<b style="left:{100 * at:.2f}%">{text(word)}</b>' for word, at in along if at < 0.97)
    st.html(f'<div class="ap-scale" aria-hidden="true">{lines}{marks}</div>')


def meter(label: str, said: str, part: float, role: Literal["meter", "progressbar"] = "meter") -> None:
    """How much of something is used, or done.

    Args:
        label: of what.
        said: the amount in words.
        part: 0 to 1.
        role: of a meter that is nearly full is warned; a progressbar is meant to fill.
    """
    percent = round(100 * min(max(part, 0.0), 1.0))
    tone = "ap-bad" if role == "meter" and part >= 0.9 else "ap-accent"
    st.html(
        f'<div class="ap-meter"><div><span>{text(label)}</span><span>{text(said)}</span></div>'
        f'<div class="ap-bar" role="{role}" aria-label="{escape(label)}" aria-valuenow="{percent}" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuetext="{escape(said)}">'
        f'<i class="{tone}" style="width:{percent}%"></i></div></div>'
    )


def _cell(value: str) -> str:
    # Short ones stay in one line; long ones break where they must, so that a table is as narrow as it can be.
    broken = ' class="ap-long"' if len(value) > _SHORT else ""
    return f"<td{broken}>{text(value) if value else ''}</td>"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], label: str) -> None:
    """A table of texts; scrolls sideways where it is wider than the page."""
    head = "".join(f'<th scope="col">{text(column)}</th>' for column in columns)
    body = "".join("<tr>" + "".join(map(_cell, cells)) + "</tr>" for cells in rows)
    st.html(
        f'<div class="ap-table" role="region" aria-label="{escape(label)}" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
