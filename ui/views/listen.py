"""The player of a job, as soon as there is something to listen to."""

from __future__ import annotations

import streamlit as st

from api.schemas import JobBody
from pipeline.manifest import Manifest
from ui import labels, markup, texts, wording
from ui.components.player.player import player
from ui.connection import Connection, Failure
from ui.views import timeline


def show(connection: Connection, job: JobBody, manifest: Manifest | None) -> None:
    """Show the player.

    Args:
        connection: the visitor's.
        job: it waits, is running or has succeeded.
        manifest: of the job; None while it runs.
    """
    stale = f"listen-{job.id}"
    path = f"/jobs/{job.id}"
    try:
        ticket, _ = connection.ticket(path, fresh=bool(st.session_state.pop(stale, False)))
    except Failure:
        ticket = ""  # The player asks again.
    markup.heading(texts.LISTEN)
    beats, downbeats = timeline.beats(manifest)
    player(
        job.id,
        api_url=connection.browser_url,
        ticket=ticket,
        title=job.filename.rpartition(".")[0] or job.filename,
        on_ticket=lambda: st.session_state.update({stale: True}),
        titles={name: wording.stem_name(name) for name in [*labels.STEM_NAMES, *_without()]},
        lanes=timeline.lanes(manifest),
        beats=beats,
        downbeats=downbeats,
        key=f"player-{job.id}",
    )


def _without() -> list[str]:
    return [f"no_{name}" for name in labels.STEM_NAMES]
