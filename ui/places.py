"""The pages and their addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from ui import texts

if TYPE_CHECKING:
    from streamlit.navigation.page import Page

    from ui.connection import Connection

# Views are imported inside: they link to one another by this module.


def submit() -> Page:
    """Where recordings are submitted: the first page."""
    from ui.views.submit import show

    return st.Page(show, title=texts.SUBMIT_PAGE, icon=":material/add:", url_path="new", default=True)


def history() -> Page:
    """The visitor's jobs."""
    from ui.views.history import show

    return st.Page(show, title=texts.HISTORY_PAGE, icon=":material/library_music:", url_path="jobs")


def job() -> Page:
    """One job, named by ``?job=``."""
    from ui.views.job import show

    return st.Page(show, title=texts.JOB_PAGE, url_path="job", visibility="hidden")


def batch() -> Page:
    """One batch, named by ``?batch=``, or all of the visitor's."""
    from ui.views.batch import show

    return st.Page(show, title=texts.BATCH_PAGE, url_path="batch", visibility="hidden")


def admin() -> Page:
    """The service, for who looks after it."""
    from ui.views.admin import show

    return st.Page(show, title=texts.ADMIN_PAGE, icon=":material/monitor_heart:", url_path="admin")


def account() -> Page:
    """Whose key it is, and signing out."""
    from ui.views.account import show

    return st.Page(show, title=texts.ACCOUNT_PAGE, icon=":material/account_circle:", url_path="account")


def pages(connection: Connection | None) -> list[Page]:
    """The pages that a visitor may see. Before anybody is signed in all of them: their addresses stay."""
    known = [submit(), history(), job(), batch(), account()]
    return [*known, admin()] if connection is None or connection.may("admin") else known


def tabs(connection: Connection) -> None:
    """The pages at the bottom of a phone's screen, where thumbs are; elsewhere the style sheet hides them."""
    with st.container(key="tabs", horizontal=True, gap=None):
        for page in pages(connection):
            if page.visibility == "visible":
                st.page_link(page)
