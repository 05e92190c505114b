"""The pages, and who may see them. Started by ``python -m streamlit run ui/app.py``."""

from __future__ import annotations

import logging
from pathlib import Path

import streamlit as st

from api.client_answers import ServiceProblem
from ui import markup, places, texts
from ui.connection import Connection, Failure, current, remember, sign_out
from ui.views import sign_in, unreachable

log = logging.getLogger(__name__)

_ICON = str(Path(__file__).with_name("icon.svg"))


def main() -> None:
    """Show the page that the address names, or ask for a key first."""
    st.set_page_config(page_title=texts.PRODUCT, page_icon=_ICON, layout="wide")
    markup.style()
    remember()
    connection = _connection()
    if connection is not None:
        st.logo(_ICON)
    page = st.navigation(places.pages(connection), position="top" if connection else "hidden")
    if connection is None:
        return
    places.tabs(connection)
    try:
        page.run()
    except Failure as exc:
        _failed(connection, exc)


def _connection() -> Connection | None:
    try:
        found = current()
    except ServiceProblem as exc:
        sign_in.show(texts.SIGN_IN_AGAIN, exc.detail)
        return None
    except Failure:
        unreachable.show()
        return None
    except (ValueError, OSError):
        log.exception("the settings of the UI make no sense")
        markup.notice(texts.SETTINGS_WRONG, [texts.SETTINGS_WRONG_HINT], "bad", alert=True)
        return None
    if found is None:
        sign_in.show()
    return found


def _failed(connection: Connection, failure: Exception) -> None:
    """Say what went wrong where a page did not; find out whether the key is still good."""
    if not isinstance(failure, ServiceProblem):
        unreachable.show()
        return
    if failure.status in (401, 403):
        try:
            connection.client.usage()
        except ServiceProblem as exc:
            sign_out()
            sign_in.show(texts.SIGN_IN_AGAIN, exc.detail)
            return
        except Failure:
            unreachable.show()
            return
    markup.notice(texts.FAILED, [failure.detail], "bad", alert=True)


main()
