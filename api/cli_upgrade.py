"""``python -m api upgrade``: bring the database up to date before anything serves it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from api import migrate
from api.cli_services import told
from api.database import open_database
from api.errors import DatabaseUnavailable
from api.settings_load import load_settings

_PAUSE_S: Final = 1.0


def upgrade(
    wait: Annotated[
        float, typer.Option(help="Seconds to wait for a database that does not answer yet.")
    ] = 0.0,
) -> None:
    """Make the tables, or bring them up to date, as the service does when it starts.

    Any number may do it at once, such as all pods of an update: one does the work, the others wait for it.
    """
    with told():
        settings = load_settings(os.environ, Path(".env"))
        engine = open_database(settings.database_url.get_secret_value())
        deadline = time.monotonic() + wait
        while True:
            try:
                done = migrate.is_current(engine)
                migrate.upgrade(engine)
                break
            except DatabaseUnavailable:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_PAUSE_S)
        engine.dispose()
        typer.echo("the database was up to date" if done else "the database is up to date now")
