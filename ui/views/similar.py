"""The visitor's other jobs that sound most like one of them."""

from __future__ import annotations

from typing import Final

import streamlit as st

from api.schemas import SimilarJob
from ui import markup, places, texts, wording
from ui.connection import Connection, Failure

_MOST: Final = 5


def show(connection: Connection, job_id: str) -> None:
    """Show them, the same recording first; nothing where there are none."""
    try:
        found = connection.client.similar(job_id, limit=_MOST).items
    except Failure:  # An extra: the page stands without it.
        return
    if not found:
        return
    markup.heading(texts.SIMILAR)
    for other in found:
        _row(other)


def _row(other: SimilarJob) -> None:
    alike = (
        texts.SIMILAR_SAME
        if other.same
        else texts.SIMILAR_ALIKE.format(percent=round(100 * other.similarity))
    )
    about = " \N{MIDDLE DOT} ".join([alike, wording.ago(other.created_at)])
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"like-{other.id}"):
        st.html(
            f'<div class="ap-job"><strong>{markup.text(other.filename)}</strong>'
            f"<span>{markup.text(about)}</span></div>"
        )
        st.page_link(places.job(), label=texts.OPEN_JOB, query_params={"job": other.id})
