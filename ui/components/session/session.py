"""Has the browser remember a session."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_mount = st.components.v2.component(
    "session", js=Path(__file__).with_name("session.js").read_text(encoding="utf-8"), isolate_styles=False
)


def remember_session(name: str, session: str) -> None:
    """Set the cookie of a session.

    Args:
        name: of the cookie.
        session: id of the session; empty: forget it.
    """
    _mount(data={"name": name, "id": session}, key="session_cookie", height=1)
