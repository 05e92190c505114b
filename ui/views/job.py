"""One job, by ``?job=``: how it goes on, and what came of it."""

from __future__ import annotations

import re
from typing import Final

import streamlit as st

from api.client_answers import ServiceProblem
from api.schemas import JobBody
from ui import markup, places, texts, wording
from ui.connection import Connection, current
from ui.views import listen, progress, questions, result

_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def show() -> None:
    """The page."""
    connection = current()
    assert connection is not None, "pages are shown to who is signed in"
    job_id = st.query_params.get("job", "")
    if not job_id:
        _nothing(texts.JOB_NONE, texts.JOB_NONE_HINT)
        return
    if not _ID.fullmatch(job_id):
        _nothing(texts.JOB_UNKNOWN, texts.JOB_UNKNOWN_HINT)
        return
    try:
        job = connection.client.job(job_id)
    except ServiceProblem as exc:
        if exc.status == 410:
            _nothing(texts.JOB_DELETED, texts.JOB_DELETED_HINT)
        elif exc.status == 404:
            _nothing(texts.JOB_UNKNOWN, texts.JOB_UNKNOWN_HINT)
        else:
            raise
        return
    st.set_page_config(page_title=f"{markup.printable(job.filename)} · {texts.PRODUCT}")
    with st.container(horizontal=True, vertical_alignment="top", key="head"):
        markup.title(job.filename, _about(job), job.status, texts.STATUS[job.status])
        _buttons(connection, job)
    _state(connection, job)


def _state(connection: Connection, job: JobBody) -> None:
    if job.status in ("queued", "running"):
        progress.follow(connection, job)
        # From the start, although only the recording can be heard yet: the stems come as they are made.
        listen.show(connection, job, None)
        return
    if job.status == "failed":
        lines = [job.error.message, job.error.hint] if job.error else []
        markup.notice(texts.JOB_FAILED, lines, "bad")
    elif job.status == "cancelled":
        markup.notice(texts.JOB_CANCELLED, [texts.JOB_CANCELLED_HINT])
    else:
        if job.status == "expired":
            markup.notice(texts.JOB_EXPIRED, [texts.JOB_EXPIRED_HINT])
        result.show(connection, job)


def _about(job: JobBody) -> str:
    parts = [
        wording.clock(job.duration_s) if job.duration_s else "",
        wording.size(job.input_bytes),
        wording.ago(job.created_at),
    ]
    return " · ".join(filter(None, parts))


def _buttons(connection: Connection, job: JobBody) -> None:
    if not connection.may("submit"):
        return
    with st.container(horizontal=True, width="content", key="actions"):
        if job.status in ("queued", "running"):
            if st.button(texts.CANCEL, icon=":material/close:"):
                questions.ask_cancel(connection, job.id, job.filename)
            return
        # What would only fail again is not what a visitor is led to.
        helps = job.status == "cancelled" or (job.error is not None and job.error.retryable)
        if job.status in ("failed", "cancelled") and st.button(
            texts.RETRY, type="primary" if helps else "secondary", icon=":material/refresh:"
        ):
            connection.client.retry(job.id)
            st.rerun()
        if st.button(texts.DELETE, icon=":material/delete:"):
            questions.ask_delete(connection, job.id, job.filename, _leave)


def _leave() -> None:
    st.switch_page(places.history())


def _nothing(heading: str, hint: str) -> None:
    with st.container(key="blank"):
        markup.blank(heading, hint)
        with st.container(horizontal=True, horizontal_alignment="center", key="leads"):
            st.page_link(places.history(), label=texts.HISTORY_TITLE)
            st.page_link(places.submit(), label=texts.HISTORY_FIRST)
