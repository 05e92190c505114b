"""Sends notices through apprise, which knows mail, Slack, PagerDuty and a hundred others."""

from __future__ import annotations

import logging
from typing import Final

from api.notifications.model import Notice
from api.notifications.receivers import Receiver, secret_parts
from api.telemetry import Redactor, one_line

_LONGEST: Final = 300
"""Characters of a reason."""


def send(receiver: Receiver, notice: Notice) -> str | None:
    """Send a notice to a receiver, within some seconds.

    Returns:
        Why it was not sent, without anything secret; None: it was.
    """
    # It takes half a second and 30 MB: only a service that tells somebody something pays for it.
    import apprise

    # What it logs may hold whole URLs: it is taken, cleaned, and told as our own.
    logging.getLogger("apprise").propagate = False
    # Without its pictures, which would be fetched from elsewhere by whoever reads.
    name = "Audio Pipeline"
    asset = apprise.AppriseAsset(app_id=name, app_desc=name, app_url="", image_url_mask="", image_url_logo="")
    speaker = apprise.Apprise(asset=asset)
    capture = apprise.LogCapture(level=logging.WARNING, fmt="%(message)s")  # type: ignore[no-untyped-call]
    with capture as said:
        if not speaker.add(receiver.url):
            return f"apprise cannot use this URL: {_said(receiver, said)}"
        try:
            sent = speaker.notify(
                title=notice.title, body=notice.body, notify_type=apprise.NotifyType(notice.level.value)
            )
        except Exception as exc:  # Plug-ins of so many services: each may fail in a way of its own.
            return f"{type(exc).__name__}: {_cleaned(receiver, str(exc))}"
        return None if sent else _said(receiver, said)


def _said(receiver: Receiver, said: object) -> str:
    text = said.getvalue() if hasattr(said, "getvalue") else ""
    return _cleaned(receiver, text) or "the receiver did not take it"


def _cleaned(receiver: Receiver, text: str) -> str:
    # Line by line, and the last first: it is what finally went wrong.
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return one_line(Redactor(secret_parts([receiver])).text("; ".join(lines)))[:_LONGEST]
