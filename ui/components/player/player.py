"""The multitrack player, as a Streamlit component."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, TypedDict

import streamlit as st

from ui.components.modules import script
from ui.components.player.texts import TEXTS

_HERE = Path(__file__).parent
_VENDOR = _HERE.parents[1] / "vendor"
_WAVESURFER = _VENDOR / "wavesurfer"
_WAVESURFER_FILES: Final = ("wavesurfer.esm.js", "regions.esm.js", "timeline.esm.js")
_STRETCH = _VENDOR / "signalsmith-stretch" / "SignalsmithStretch.mjs"
# Here the vendored file goes over from the compiled program to an audio node, which would be a second clock.
_STRETCH_NODE: Final = "function registerWorkletProcessor("


class LaneItem(TypedDict):
    """A label for a stretch of the mix; seconds from its start."""

    start_s: float
    end_s: float
    label: str


class Lane(TypedDict):
    """A row below the waveforms, such as chords or sections. Its items are in order and do not overlap."""

    name: str
    items: list[LaneItem]


def player(
    job_id: str,
    *,
    api_url: str,
    ticket: str,
    title: str,
    on_ticket: Callable[[], None],
    titles: Mapping[str, str] | None = None,
    lanes: Sequence[Lane] = (),
    beats: Sequence[float] = (),
    downbeats: Sequence[float] = (),
    key: str,
) -> None:
    """Show the player of a job, running or finished.

    The browser asks the service itself what can be heard. A rerun with other values changes what is shown and
    never interrupts what plays.

    Args:
        job_id: the job.
        api_url: address of the service as the browser sees it, without a slash at its end.
        ticket: opens the audio and the peaks of this job; sent as `X-Ticket`.
        title: the recording's name, for the name of an exported file.
        on_ticket: called when the ticket has ended, before a rerun. That rerun should bring a new ticket.
        titles: how tracks are called on the screen, by name; a track without a title shows its name.
        lanes: rows of labels below the waveforms.
        beats: of the metronome and the timeline, seconds from the start of the mix, ascending.
        downbeats: those beats that start a bar.
        key: of this element, for Streamlit.
    """
    data = {
        "job_id": job_id,
        "api_url": api_url.rstrip("/"),
        "ticket": ticket,
        "title": title,
        "titles": dict(titles or {}),
        "lanes": list(lanes),
        "beats": list(beats),
        "downbeats": list(downbeats),
        "texts": TEXTS,
    }
    _component()(key=key, data=data, on_ticket_change=on_ticket)


def _stretch_program() -> str:
    program, found, _ = _STRETCH.read_text(encoding="utf-8").partition(_STRETCH_NODE)
    if not found:
        raise RuntimeError(f"{_STRETCH.name} is of a version that the player does not know")
    return f"{program}\nexport default SignalsmithStretch;\n"


@cache
def _component() -> Callable[..., Any]:
    libraries = {name: (_WAVESURFER / name).read_text(encoding="utf-8") for name in _WAVESURFER_FILES}
    libraries["signalsmith-stretch.js"] = _stretch_program()
    css = (_HERE / "player.css").read_text(encoding="utf-8")
    js = script(_HERE / "player.js", libraries)
    return st.components.v2.component("audio_pipeline_player", css=css, js=js)
