"""Whose key it is, what it may do and has used, and the way out."""

from __future__ import annotations

import streamlit as st

from api.schemas import UsageBody
from ui import markup, texts
from ui.connection import current, sign_out


def show() -> None:
    """The page."""
    connection = current()
    assert connection is not None, "pages are shown to who is signed in"
    markup.title(texts.ACCOUNT_PAGE)
    markup.facts(
        [
            (texts.SIGNED_IN_AS, connection.owner),
            (texts.KEY_SCOPES, ", ".join(texts.SCOPES[s] for s in texts.SCOPES if connection.may(s))),
        ]
    )
    markup.heading(texts.USAGE)
    show_usage(connection.client.usage())
    if connection.may_sign_out:
        st.space("small")
        # As a callback: a rerun would drop what sends the browser to the organisation's own sign-out.
        st.button(texts.SIGN_OUT, on_click=sign_out)


def show_usage(usage: UsageBody, *, quietly: bool = False) -> None:
    """What was used, and the quota where there is one.

    Args:
        usage: the visitor's.
        quietly: below something else that the page is about.
    """
    minutes = usage.audio_s_last_month / 60
    most_minutes = usage.audio_s_per_month and usage.audio_s_per_month / 60
    free = []
    for label, used, quota in (
        (texts.USAGE_JOBS, float(usage.jobs_last_day), usage.jobs_per_day),
        (texts.USAGE_AUDIO, minutes, most_minutes),
    ):
        if quota:
            said = texts.OF_QUOTA.format(used=f"{used:.0f}", quota=f"{quota:.0f}")
            markup.meter(label, said, used / quota)
        else:
            free.append((label, f"{used:.0f}"))
    if free and quietly:
        markup.aside(" · ".join(f"{label}: {used}" for label, used in free))
    elif free:
        markup.row([markup.figure(label, used) for label, used in free])
