"""The visitor's jobs: search, filter, sort, page by page; and what was used of the quota."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import Any, Final

import streamlit as st

from api.schemas import JobBody
from ui import markup, places, texts, wording
from ui.connection import Connection, Failure, current
from ui.views import questions
from ui.views.account import show_usage

_A_PAGE: Final = 20
_LOOK_EVERY_S: Final = 3.0
_MOST_SORTED: Final = 500
"""The service gives the newest first; for any other order so many are looked at."""
_STATUSES: Final = ("queued", "running", "succeeded", "failed", "cancelled", "expired")


def show() -> None:
    """The page."""
    connection = current()
    assert connection is not None, "pages are shown to who is signed in"
    markup.title(texts.HISTORY_TITLE)
    if st.session_state.pop("deleted", False):
        st.toast(texts.DELETED)
    controls = st.empty()
    with controls.container():
        filters, order = _controls()
        st.page_link(places.batch(), label=texts.BATCHES_TITLE)
    if st.session_state.get("listing") != (filters, order):
        st.session_state.update(listing=(filters, order), page=0, cursors=[None])
    jobs, further = _find(connection, filters, order)
    if jobs:
        for job in jobs:
            _row(connection, job)
        _pages(further)
    elif filters:
        markup.blank(texts.HISTORY_NO_MATCH, texts.HISTORY_NO_MATCH_HINT)
    else:
        controls.empty()  # There is nothing to search.
        with st.container(key="blank"):
            markup.blank(texts.HISTORY_EMPTY, texts.HISTORY_EMPTY_HINT)
            with st.container(horizontal=True, horizontal_alignment="center", key="leads"):
                st.page_link(places.submit(), label=texts.HISTORY_FIRST)
    st.space("small")
    show_usage(connection.client.usage(), quietly=True)


def _controls() -> tuple[dict[str, Any], str]:
    """What the visitor looks for."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters"):
        wanted = st.text_input(texts.SEARCH, max_chars=200, type="search", key="search", width=360)
        order = st.selectbox(
            texts.SORT,
            list(texts.SORTS),
            format_func=texts.SORTS.__getitem__,
            key="order",
            width=180,
        )
    statuses = st.pills(
        texts.FILTER,
        _STATUSES,
        selection_mode="multi",
        format_func=texts.STATUS.__getitem__,
        key="statuses",
    )
    filters: dict[str, Any] = {}
    if wanted and wanted.strip():
        filters["q"] = wanted.strip()
    if statuses:
        filters["status"] = list(statuses)
    return filters, order or "newest"


def _find(connection: Connection, filters: dict[str, Any], order: str) -> tuple[list[JobBody], bool]:
    """The jobs of the page that is open, and whether there is another page."""
    number: int = st.session_state.page
    if order == "newest":
        cursors: list[str | None] = st.session_state.cursors
        page = connection.client.page(cursors[number], limit=_A_PAGE, **filters)
        del cursors[number + 1 :]
        cursors.append(page.next_cursor)
        return page.jobs, page.next_cursor is not None
    found = list(islice(connection.client.jobs(limit=200, **filters), _MOST_SORTED + 1))
    if len(found) > _MOST_SORTED:
        st.caption(texts.SORTED_OF.format(count=_MOST_SORTED))
        del found[_MOST_SORTED:]
    if order == "oldest":
        found.reverse()
    elif order == "name":
        found.sort(key=lambda job: job.filename.casefold())
    else:
        found.sort(key=lambda job: -(job.duration_s or 0.0))
    begin = number * _A_PAGE
    return found[begin : begin + _A_PAGE], len(found) > begin + _A_PAGE


def _row(connection: Connection, job: JobBody) -> None:
    about = [wording.ago(job.created_at), wording.size(job.input_bytes)]
    if job.duration_s:
        about.insert(0, wording.clock(job.duration_s))
    why = f'<span class="ap-why">{markup.text(job.error.message)}</span>' if job.error else ""
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"job-{job.id}"):
        st.html(
            f'<div class="ap-job"><strong>{markup.text(job.filename)}</strong>'
            f"<span>{markup.text(' · '.join(about))}</span>{why}</div>"
        )
        if job.status in ("queued", "running"):
            with st.container(width="content"):
                _follow(connection, job)
        else:
            _pill(job)
        st.page_link(places.job(), label=texts.OPEN_JOB, query_params={"job": job.id})
        if connection.may("submit") and st.button(
            texts.DELETE,
            icon=":material/delete:",
            key=f"delete-{job.id}",
            type="tertiary",
            disabled=job.status in ("queued", "running"),
        ):
            questions.ask_delete(connection, job.id, job.filename, _deleted)


@st.fragment(run_every=_LOOK_EVERY_S)
def _follow(connection: Connection, job: JobBody) -> None:
    """How far a job is, as long as it runs. The page is not drawn again: a question may be open."""
    with suppress(*Failure):
        job = connection.client.job(job.id)
    _pill(job)


def _pill(job: JobBody) -> None:
    said = texts.STATUS[job.status]
    if job.status == "running":
        said = texts.STATUS_PERCENT.format(status=said, percent=int(100 * job.progress))
    st.html(markup.pill(said, markup.TONES.get(job.status, "neutral")), width="content")


def _deleted() -> None:
    st.session_state.deleted = True
    st.rerun()


def _pages(further: bool) -> None:
    number: int = st.session_state.page
    if not further and number == 0:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(texts.PAGE_BACK, disabled=number == 0, on_click=_turn, args=(-1,))
        st.text(texts.PAGE_NUMBER.format(number=number + 1))
        st.button(texts.PAGE_NEXT, disabled=not further, on_click=_turn, args=(1,))


def _turn(by: int) -> None:
    st.session_state.page += by
