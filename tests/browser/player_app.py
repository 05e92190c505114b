"""A page with nothing but the player, which Streamlit serves for the tests. Its address names the job."""

from __future__ import annotations

import streamlit as st

from ui.components.player.player import player

st.set_page_config(layout="wide")
state = st.session_state
state.setdefault("tickets", 1)


def _renew() -> None:
    state.tickets += 1


query = st.query_params
beats = [i * 0.5 for i in range(1, 400)]
player(
    query["job"],
    api_url=query["api"],
    ticket=query.get("ticket", f"ticket-{state.tickets}"),
    title=query.get("title", "A song: live/2024"),
    on_ticket=_renew,
    titles={"vocals": "Vocals", "drums": "Drums", "bass": "Bass", "other": "Other", "residual": "Residual"},
    lanes=[
        {
            "name": "Chords",
            "items": [
                {"start_s": i * 2.0, "end_s": i * 2.0 + 2.0, "label": label}
                for i, label in enumerate(["Am", "F", "C", "G7", "<b>Dm</b>"] * 20)
            ],
        },
        {
            "name": "Sections",
            "items": [
                {"start_s": 0.0, "end_s": 8.0, "label": "Intro"},
                {"start_s": 8.0, "end_s": 40.0, "label": "Verse"},
                {"start_s": 40.0, "end_s": 200.0, "label": "Chorus"},
            ],
        },
        {"name": "Key", "items": [{"start_s": 0.0, "end_s": 200.0, "label": "A minor"}]},
    ]
    if query.get("bare") is None
    else [],
    beats=beats,
    downbeats=beats[3::4],
    key="player",
)
st.button("Run again")
st.text(f"Tickets: {state.tickets}")
