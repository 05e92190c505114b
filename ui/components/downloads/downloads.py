"""Saves files of a job: a Streamlit component that fetches them in the browser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

import streamlit as st

from ui import texts

_HERE = Path(__file__).parent


class File(TypedDict):
    """A file that can be saved.

    Attributes:
        label: what it is.
        detail: format and size.
        name: that it is saved under.
        path: of the API.
        bytes: its size; None where that is not known before.
    """

    label: str
    detail: str
    name: str
    path: str
    bytes: int | None


def downloads(
    files: Sequence[File], *, api_url: str, ticket: str, on_ticket: Callable[[], None], key: str
) -> None:
    """Show files with a button each.

    Large files are written piece by piece where the browser can; elsewhere they pass through its memory.

    Args:
        files: of one job; the first is what most want.
        api_url: address of the service as the browser sees it.
        ticket: opens all of them; sent as ``X-Ticket``.
        on_ticket: called when the ticket has ended, before a rerun that should bring a new one.
        key: of this element, for Streamlit.
    """
    data = {"files": list(files), "api_url": api_url, "ticket": ticket, "texts": texts.DOWNLOAD_WORDS}
    _component()(key=key, data=data, on_renew_change=on_ticket)


@cache
def _component() -> Callable[..., Any]:
    return st.components.v2.component(
        "audio_pipeline_downloads",
        html="<ul></ul>",
        css=(_HERE / "downloads.css").read_text(encoding="utf-8"),
        js=(_HERE / "downloads.js").read_text(encoding="utf-8"),
    )
