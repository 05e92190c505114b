"""One batch, by ``?batch=``: how far each of its recordings is; without it, the visitor's batches."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Final

import streamlit as st

from api.client_answers import ServiceProblem
from api.schemas_batches import BatchBody, BatchSummary, ItemBody
from ui import markup, places, texts, wording
from ui.components.downloads.downloads import downloads
from ui.connection import Connection, Failure, current
from ui.views import questions

_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LOOK_EVERY_S: Final = 2.0
_GROWS_FOR: Final = timedelta(days=1)
_MOST_SHOWN: Final = 250
"""Rows of a table that a browser draws anew every two seconds without an effort."""


def show() -> None:
    """The page."""
    connection = current()
    assert connection is not None, "pages are shown to who is signed in"
    batch_id = st.query_params.get("batch", "")
    if not batch_id:
        _list(connection)
        return
    try:
        if not _ID.fullmatch(batch_id):
            raise ServiceProblem(404, "not_found", "")
        batch = connection.client.batches.get(batch_id)
    except ServiceProblem as exc:
        if exc.status != 404:
            raise
        _nothing(texts.BATCH_UNKNOWN, texts.BATCH_UNKNOWN_HINT)
        return
    title = wording.counted(texts.BATCH_TITLE, batch.total)
    with st.container(horizontal=True, vertical_alignment="top", key="head"):
        markup.title(title, wording.ago(batch.created_at))
        if not batch.ended and connection.may("submit"):
            with st.container(horizontal=True, width="content", key="actions"):
                if st.button(texts.BATCH_CANCEL, icon=":material/close:"):
                    questions.ask_cancel_batch(connection, batch.id, title)
    # A browser that still sends lets a batch grow after all that it had has ended.
    if batch.ended and datetime.now(UTC) - batch.created_at > _GROWS_FOR:
        _draw(batch)
    else:
        st.session_state.followed_batch = batch
        _follow(connection, batch.id)
    if batch.counts.get("succeeded"):
        _save(connection, batch)


@st.fragment(run_every=_LOOK_EVERY_S)
def _follow(connection: Connection, batch_id: str) -> None:
    known: BatchBody | None = st.session_state.get("followed_batch")
    if known is None or known.id != batch_id:  # Signed out, or elsewhere, between two looks.
        return
    try:
        batch = connection.client.batches.get(batch_id)
    except Failure as exc:
        # A service that starts anew or is busy comes back. Anything else the whole page has to say.
        if isinstance(exc, ServiceProblem) and exc.status < 500 and exc.status != 429:
            st.rerun()
        _draw(known)
        markup.notice(texts.UNREACHABLE, tone="bad")
        return
    st.session_state.followed_batch = batch
    if _about(batch) != _about(known):
        st.rerun()
    _draw(batch)


def _about(batch: BatchBody) -> tuple[int, bool, bool]:
    """What decides about the page outside the part that is drawn again and again."""
    return batch.total, batch.ended, bool(batch.counts.get("succeeded"))


def _draw(batch: BatchBody) -> None:
    left = texts.TIME_LEFT.format(time=wording.span(batch.eta_s)) if batch.eta_s else ""
    said = " · ".join(filter(None, [_counted(batch), left]))
    markup.meter(texts.BATCH_PROGRESS, said, batch.progress, "progressbar")
    head = "".join(f'<th scope="col">{markup.text(name)}</th>' for name in texts.BATCH_COLUMNS)
    rows = "".join(map(_row, batch.items[:_MOST_SHOWN]))
    label = escape(texts.BATCH_PROGRESS)
    st.html(
        f'<div class="ap-table ap-batch" role="region" aria-label="{label}" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
    if len(batch.items) > _MOST_SHOWN:
        st.caption(texts.BATCH_MORE.format(count=len(batch.items) - _MOST_SHOWN))


def _row(item: ItemBody) -> str:
    status = texts.STATUS[item.status]
    percent = int(100 * item.progress)
    if item.status == "running":
        status = texts.STATUS_PERCENT.format(status=status, percent=percent)
    left = wording.span(item.eta_s) if item.eta_s else ""
    why = f'<span class="ap-why">{markup.text(item.error.message)}</span>' if item.error else ""
    name = markup.text(item.filename or item.source)
    if item.job_id is not None:
        name = f'<a href="./job?job={escape(item.job_id)}" target="_self">{name}</a>'
    tone = markup.TONES.get(item.status, "neutral")
    bar = ""
    if item.status in ("waiting", "queued", "running"):
        bar = f'<span class="ap-bar"><i style="width:{percent}%"></i></span>'
    return (
        f'<tr><td class="ap-long">{name}{why}</td><td>{markup.pill(status, tone)}</td>'
        f"<td>{bar}</td><td>{markup.text(left)}</td></tr>"
    )


def _counted(batch: BatchSummary) -> str:
    return ", ".join(
        texts.BATCH_COUNT.format(count=batch.counts[status], status=texts.STATUS[status].lower())
        for status in texts.STATUS
        if batch.counts.get(status)
    )


def _save(connection: Connection, batch: BatchBody) -> None:
    stale, base = f"downloads-{batch.id}", f"/batches/{batch.id}"
    ticket, _ = connection.ticket(base, fresh=bool(st.session_state.pop(stale, False)))
    downloads(
        [
            {
                "label": texts.EVERYTHING,
                "detail": "ZIP",
                "name": f"batch {batch.created_at:%Y-%m-%d %H.%M}.zip",
                "path": f"{base}/archive",
                "bytes": None,
            }
        ],
        api_url=connection.browser_url,
        ticket=ticket,
        on_ticket=lambda: st.session_state.update({stale: True}),
        key=f"downloads-of-{batch.id}",
    )


def _list(connection: Connection) -> None:
    found = connection.client.batches.page().batches
    if not found:
        _nothing(texts.BATCHES_NONE, texts.BATCHES_NONE_HINT)
        return
    markup.title(texts.BATCHES_TITLE)
    for batch in found:
        with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"batch-{batch.id}"):
            title = markup.text(wording.counted(texts.BATCH_TITLE, batch.total))
            about = markup.text(" · ".join([wording.ago(batch.created_at), _counted(batch)]))
            st.html(f'<div class="ap-job"><strong>{title}</strong><span>{about}</span></div>')
            st.page_link(places.batch(), label=texts.OPEN_JOB, query_params={"batch": batch.id})


def _nothing(heading: str, hint: str) -> None:
    with st.container(key="blank"):
        markup.blank(heading, hint)
        with st.container(horizontal=True, horizontal_alignment="center", key="leads"):
            st.page_link(places.history(), label=texts.HISTORY_TITLE)
            st.page_link(places.submit(), label=texts.HISTORY_FIRST)
