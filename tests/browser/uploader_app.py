"""The smallest page that shows the uploader."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

import streamlit as st

from api.client import Client
from ui.components.uploader.uploader import uploader

client = Client(os.environ["API_URL"], os.environ["API_KEY"])


def ticket(path: str, *, fresh: bool = False) -> tuple[str, float]:
    held = st.session_state.setdefault("tickets", {})
    if fresh or path not in held:
        held[path] = client.ticket(path).ticket
        st.session_state.asked = st.session_state.get("asked", 0) + 1
    return held[path], float(os.environ.get("TICKET_S", "900"))


estimators = st.selectbox("Estimators", ["none", "tempo"])
if not st.checkbox("Another page"):
    shown = uploader(
        os.environ["BROWSER_API_URL"],
        owner=st.text_input("Owner", "somebody"),
        ticket=ticket,
        options={"model": "hpss", "estimators": [] if estimators == "none" else [estimators]},
        key="uploads",
    )
    st.text(json.dumps({"files": [asdict(file) for file in shown.files], "opened": shown.opened}))
st.text(f"tickets asked: {st.session_state.get('asked', 0)}")
