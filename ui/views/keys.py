"""The API keys, for who looks after the service: made, shown once, revoked."""

from __future__ import annotations

import streamlit as st

from api.schemas_admin import KeyBody, KeyRequest
from ui import markup, texts, wording
from ui.connection import Connection, Failure, words
from ui.views import questions


def show(connection: Connection) -> None:
    """The keys, and a form for another."""
    _made()
    with st.expander(texts.KEY_NEW, icon=":material/add:"):
        _form(connection)
    gone = st.toggle(texts.KEYS_GONE, key="keys_gone")
    for key in connection.client.admin.find_keys():
        if gone or key.state == "valid":
            _row(connection, key)


def _made() -> None:
    """The key that was made a moment ago; it is nowhere else."""
    if "made_key" not in st.session_state:
        return
    markup.notice(texts.KEY_MADE, tone="accent", alert=True)
    st.code(st.session_state.made_key, language=None)
    if st.button(texts.KEY_SEEN):
        del st.session_state.made_key
        st.rerun()


def _form(connection: Connection) -> None:
    with st.form("new_key", border=False, clear_on_submit=False):
        name = st.text_input(texts.KEY_NAME, max_chars=64, help=texts.KEY_NAME_HELP)
        owner = st.text_input(texts.KEY_OWNER, max_chars=64, help=texts.KEY_OWNER_HELP)
        scopes = st.pills(
            texts.KEY_SCOPES,
            [scope for scope in texts.SCOPES if connection.may(scope)],
            default=[scope for scope in ("submit", "read") if connection.may(scope)],
            selection_mode="multi",
            format_func=texts.SCOPES.__getitem__,
        )
        columns = st.columns(3)
        jobs = columns[0].number_input(texts.KEY_JOBS, 1, 1_000_000, None, help=texts.KEY_ANY)
        minutes = columns[1].number_input(texts.KEY_MINUTES, 1, 10_000_000, None, help=texts.KEY_ANY)
        days = columns[2].number_input(texts.KEY_DAYS, 1, 36500, None, help=texts.KEY_ANY)
        if not st.form_submit_button(texts.KEY_NEW, type="primary"):
            return
    wanted = KeyRequest(
        name=name.strip(),
        owner=owner.strip() or None,
        scopes=list(scopes),
        jobs_per_day=jobs,
        audio_s_per_month=None if minutes is None else minutes * 60.0,
        expires_days=days,
    )
    try:
        made = connection.client.admin.create_key(wanted)
    except Failure as exc:
        markup.notice(texts.FAILED, [words(exc)], "bad", alert=True)
        return
    st.session_state.made_key = made.key
    st.rerun()


def _row(connection: Connection, key: KeyBody) -> None:
    used = wording.ago(key.last_used_at) if key.last_used_at else texts.NEVER
    may = ", ".join(texts.SCOPES.get(scope, scope) for scope in key.scopes)
    parts = [key.owner, key.begins and f"{key.begins}…", may, f"{texts.COLUMNS['used']}: {used}"]
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"key-{key.id}"):
        st.html(
            f'<div class="ap-job"><strong>{markup.text(key.name)}</strong>'
            f"<span>{markup.text(' · '.join(filter(None, parts)))}</span></div>"
        )
        tone = markup.TONES.get(key.state, "neutral")
        st.html(markup.pill(texts.KEY_STATES[key.state], tone), width="content")
        if key.state == "valid" and st.button(texts.REVOKE, key=f"revoke-{key.id}"):
            questions.ask_revoke(connection, key.id, key.name)
