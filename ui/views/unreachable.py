"""What is shown while the service does not answer."""

from __future__ import annotations

import time
from typing import Final

import httpx2 as httpx
import streamlit as st

from ui import markup, texts
from ui.connection import settings

_LOOK_EVERY_S: Final = 2.0


def show() -> None:
    """Say so, and go on as soon as it is back."""
    st.session_state.unreachable_since = time.monotonic()
    with st.container(key="away"):
        markup.brand()
        markup.title(texts.UNREACHABLE_TITLE, texts.UNREACHABLE_HINT)
        markup.waiting()
    _wait()


@st.fragment(run_every=_LOOK_EVERY_S)
def _wait() -> None:
    # Not at once: what fails although the service is alive must not make the page run in circles.
    if time.monotonic() - st.session_state.get("unreachable_since", 0.0) < _LOOK_EVERY_S / 2:
        return
    try:
        httpx.get(f"{settings().api_url}/livez", timeout=_LOOK_EVERY_S)
    except httpx.TransportError:
        return
    st.rerun()
