"""Asks who is there."""

from __future__ import annotations

import streamlit as st

from ui import markup, texts
from ui.connection import Failure, organisation, sign_in, sign_out, verified, words


def show(heading: str = "", detail: str = "") -> None:
    """Ask for a key, or for an account of the organisation.

    Args:
        heading: why it is asked again; empty: it was not asked before.
        detail: more about that.
    """
    with st.container(key="sign_in"):
        markup.brand()
        markup.title(texts.PRODUCT, texts.SIGN_IN_LEAD)
        if heading:
            markup.notice(heading, [detail], "bad", alert=True)
        if organisation():
            _ask_account()
        else:
            _ask_key()


def _ask_key() -> None:
    with st.form("key", border=False):
        key = st.text_input(
            texts.SIGN_IN_KEY,
            type="password",
            autocomplete="current-password",
            help=texts.SIGN_IN_KEY_HELP,
        )
        asked = st.form_submit_button(texts.SIGN_IN, type="primary", width="stretch")
    if not asked:
        return
    if not (key := (key or "").strip()):
        markup.notice(texts.SIGN_IN_EMPTY, tone="bad", alert=True)
        return
    try:
        sign_in(key)
    except Failure as exc:
        markup.notice(texts.SIGN_IN_REFUSED, [words(exc)], "bad", alert=True)
        return
    st.rerun()


def _ask_account() -> None:
    if not st.user.is_logged_in:
        st.button(texts.SIGN_IN_ORGANISATION, type="primary", width="stretch", on_click=st.login)
        return
    email = str(st.user.get("email", ""))
    if verified():
        markup.notice(texts.SIGN_IN_NO_KEY, [email, texts.SIGN_IN_NO_KEY_HINT], "bad")
    else:
        markup.notice(texts.SIGN_IN_UNVERIFIED, [email, texts.SIGN_IN_UNVERIFIED_HINT], "bad")
    st.button(texts.SIGN_OUT, on_click=sign_out)
