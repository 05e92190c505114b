"""``python -m api notify``: whether those who are to be told can be."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import typer

from api.cli_services import EXIT_FAILED, told
from api.errors import SettingsInvalid
from api.settings import told_by
from api.settings_load import load_settings

app = typer.Typer(help="Tell operators.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    # With a callback a single command keeps its name.
    pass


@app.command()
def test() -> None:
    """Send a message to each receiver of PIPELINE_NOTIFY_URLS, and say what came of it."""
    with told():
        from api.notifications.model import Kind, Level, Notice
        from api.notifications.sender import send

        receivers = told_by(load_settings(os.environ, Path(".env")))
        if not receivers:
            raise SettingsInvalid(
                "PIPELINE_NOTIFY_URLS is not set: nobody is told.", "See docs/MONITORING.md."
            )
        body = f"python -m api notify test was run on {socket.gethostname()}. Nothing has happened."
        failed = 0
        for receiver in receivers:
            reason = send(receiver, Notice(Kind.SUMMARY, Level.INFO, "Audio Pipeline: a test", body))
            failed += reason is not None
            about = ", ".join(sorted(receiver.kinds))
            typer.echo(f"{receiver.shown} [{about}]: {'sent' if reason is None else f'failed: {reason}'}")
        if failed:
            raise typer.Exit(EXIT_FAILED)
