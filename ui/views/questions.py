"""Asks before something cannot be undone, and says what that is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import streamlit as st

from ui import markup, texts
from ui.connection import Connection, Failure, words


@st.dialog(texts.DELETE_TITLE)
def ask_delete(connection: Connection, job_id: str, filename: str, done: Callable[[], None]) -> None:
    """Ask whether a job should be deleted.

    Args:
        connection: the visitor's.
        job_id: the job.
        filename: of its recording.
        done: called when it is deleted; usually leads elsewhere.
    """
    act = partial(connection.client.delete, job_id)
    _ask(filename, texts.DELETE_WHAT, texts.DELETE_YES, texts.KEEP, act, done)


@st.dialog(texts.CANCEL_TITLE)
def ask_cancel(connection: Connection, job_id: str, filename: str) -> None:
    """Ask whether a job should be stopped."""
    act = partial(connection.client.cancel, job_id)
    _ask(filename, texts.CANCEL_WHAT, texts.CANCEL_YES, texts.GO_ON, act, st.rerun)


@st.dialog(texts.CANCEL_BATCH_TITLE)
def ask_cancel_batch(connection: Connection, batch_id: str, name: str) -> None:
    """Ask whether a batch and its jobs should be stopped."""
    act = partial(connection.client.batches.cancel, batch_id)
    _ask(name, texts.CANCEL_BATCH_WHAT, texts.CANCEL_YES, texts.GO_ON, act, st.rerun)


@st.dialog(texts.REVOKE_TITLE)
def ask_revoke(connection: Connection, key_id: str, name: str) -> None:
    """Ask whether a key should be refused from now on."""
    act = partial(connection.client.admin.revoke_key, key_id)
    _ask(name, texts.REVOKE_WHAT, texts.REVOKE_YES, texts.KEEP, act, st.rerun)


def _ask(
    name: str, what: str, yes: str, no: str, act: Callable[[], object], done: Callable[[], None]
) -> None:
    st.text(markup.printable(name))
    st.text(what)
    with st.container(horizontal=True, horizontal_alignment="right"):
        kept = st.button(no)
        with st.container(key="danger", width="content"):
            agreed = st.button(yes, type="primary")
    if kept:
        st.rerun()
    if not agreed:
        return
    try:
        act()
    except Failure as exc:
        markup.notice(texts.FAILED, [words(exc)], "bad", alert=True)
        return
    done()
