"""The signed-in visitor: whose key it is, and the client that speaks for it."""

from __future__ import annotations

import time
import weakref
from dataclasses import dataclass
from typing import Final

import httpx2 as httpx
import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from api.client import Client
from api.client_answers import ServiceProblem
from ui import texts
from ui.components.session.session import remember_session
from ui.sessions import COOKIE, Sessions
from ui.settings import UiSettings, load_ui_settings

_TIMEOUT_S: Final = 15.0
_TICKET_LEFT: Final = 0.5
"""Part of a ticket's time that must be left where it is used again."""

Failure = (ServiceProblem, httpx.TransportError)
"""What a call of the client may raise."""


@dataclass(frozen=True)
class Connection:
    """A visitor's connection to the service.

    Attributes:
        client: speaks with the visitor's key.
        owner: whose jobs are seen.
        scopes: what the key may do.
        browser_url: where the visitor's browser reaches the API.
        may_sign_out: whether the key is the visitor's own to forget.
    """

    client: Client
    owner: str
    scopes: frozenset[str]
    browser_url: str
    may_sign_out: bool

    def may(self, scope: str) -> bool:
        """Whether the key may do something."""
        return scope in self.scopes

    def ticket(self, path: str, *, fresh: bool = False) -> tuple[str, float]:
        """A ticket for the browser; one that was given before while it lasts.

        Args:
            path: what it opens.
            fresh: never one that was given before.

        Returns:
            The ticket, and the seconds that it still lasts.

        Raises:
            ServiceProblem: the service refuses.
            httpx.TransportError: it cannot be reached.
        """
        held = st.session_state.setdefault("tickets", {})
        text, began, until = held.get(path, ("", 0.0, 0.0))
        now = time.time()
        if fresh or until - now < (until - began) * _TICKET_LEFT or not text:
            made = self.client.ticket(path)
            text, began, until = made.ticket, now, made.expires_at.timestamp()
            held[path] = (text, began, until)
        return text, until - now


@st.cache_resource
def settings() -> UiSettings:
    """The settings, read once."""
    return load_ui_settings()


@st.cache_resource
def sessions() -> Sessions:
    """Everybody's sessions."""
    return Sessions(settings().session_hours * 3600)


def words(failure: Exception) -> str:
    """A failure as a person reads it."""
    return failure.detail if isinstance(failure, ServiceProblem) else texts.UNREACHABLE


def current() -> Connection | None:
    """The visitor's connection; None: a key has to be asked for.

    Raises:
        ServiceProblem: the key is refused.
        httpx.TransportError: the service cannot be reached.
    """
    if "connection" not in st.session_state:
        key = _known_key()
        if key is None:
            return None
        st.session_state.connection = connect(key)
    found: Connection = st.session_state.connection
    return found


def connect(key: str) -> Connection:
    """Ask the service who comes with a key.

    Raises:
        ServiceProblem: the key is refused.
        httpx.TransportError: the service cannot be reached.
    """
    client = Client(settings().api_url, key, timeout_s=_TIMEOUT_S)
    try:
        usage = client.usage()
    except Failure:
        client.close()
        raise
    connection = Connection(
        client,
        usage.owner,
        frozenset(usage.scopes),
        settings().browser_url(st.context.url),
        settings().key is None,
    )
    # Streamlit tells nobody when a visitor has gone: his state is dropped, and this goes with it.
    weakref.finalize(connection, client.close)
    return connection


def sign_in(key: str) -> None:
    """Take a key, and have the browser remember that it was given.

    Raises:
        ServiceProblem: the key is refused.
        httpx.TransportError: the service cannot be reached.
    """
    st.session_state.connection = connect(key)
    st.session_state.session = sessions().begin(key)


def sign_out() -> None:
    """Forget the key, here and in the browser."""
    for session in (st.session_state.get("session"), st.context.cookies.get(COOKIE)):
        if session:
            sessions().end(session)
    st.session_state.clear()
    st.session_state.session = ""
    if organisation() and st.user.is_logged_in:
        st.logout()


def organisation() -> bool:
    """Whether visitors sign in with their organisation's accounts: ``.streamlit/secrets.toml`` says so."""
    try:
        return "auth" in st.secrets
    except StreamlitSecretNotFoundError:
        return False


def remember() -> None:
    """Tell the browser of a session that has begun or ended in this visit. Once in a run."""
    if "session" in st.session_state:
        remember_session(COOKIE, st.session_state.session)


def _known_key() -> str | None:
    configured = settings().key
    if configured is not None:
        return configured.get_secret_value()
    if organisation():
        return _organisation_key()
    if st.session_state.get("session") == "":  # Signed out: the cookie of this connection is an old one.
        return None
    return sessions().key(st.context.cookies.get(COOKIE, ""))


def _organisation_key() -> str | None:
    """The key that the operator has given to an account."""
    if not st.user.is_logged_in or not verified():
        return None
    keys = {str(email).lower(): str(key) for email, key in st.secrets.get("keys", {}).items()}
    return keys.get(str(st.user.get("email", "")).lower())


def verified() -> bool:
    """Whether the provider vouches for an account's address, or at least says nothing against it."""
    # OpenID Connect Core 1.0, section 5.1, has a boolean; some providers send words.
    return str(st.user.get("email_verified", True)).lower() == "true"
