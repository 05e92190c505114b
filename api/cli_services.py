"""What commands work with: settings, database, secret; and how they tell of failures."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer
from sqlalchemy import Engine

from api.audit import Audit
from api.database import open_database
from api.encryption.data_keys import open_keys
from api.errors import SettingsInvalid
from api.keeping.places import master_keys
from api.keeping.restore import refuse_unfinished
from api.migrate import upgrade
from api.security.secret import ServerSecret, load_secret
from api.settings import Settings
from api.settings_load import SECRETS, load_settings
from api.telemetry import one_line
from pipeline.errors import PipelineError
from pipeline.scratch import disk_errors

EXIT_FAILED, EXIT_USAGE = 1, 2


@dataclass(frozen=True, slots=True)
class Services:
    """What a command works with.

    Attributes:
        settings: as of the environment and ``.env``.
        engine: of the database, which is up to date.
        secret: the server's.
    """

    settings: Settings
    engine: Engine
    secret: ServerSecret


def service_settings(log_file: str | None) -> Settings:
    """Read the settings, and log as they say.

    Args:
        log_file: name of a file to log to besides standard error; None: there is none.

    Raises:
        SettingsInvalid: a setting makes no sense.
        PipelineError: a folder cannot be made.
    """
    from api.notifications.receivers import secret_parts
    from api.settings import told_by
    from api.telemetry import configure_logging

    settings = load_settings(os.environ, Path(".env"))
    for folder in (settings.data_dir, settings.logs_dir):
        with disk_errors(f"the folder {str(folder)!r}"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    hidden = (getattr(settings, name) for name in SECRETS)
    secrets = [secret.get_secret_value() for secret in hidden if secret is not None]
    if settings.encryption_keys is not None:
        said = settings.encryption_keys.get_secret_value().replace(",", " ")
        secrets += [key.rpartition(":")[2] for key in said.split()]
    configure_logging(
        settings.logging_level,
        style=settings.log_format,
        secrets=[*secrets, *secret_parts(told_by(settings))],
        folder=settings.logs_dir if log_file else None,
        name=log_file or "worker",
    )
    return settings


@contextmanager
def open_services() -> Iterator[Services]:
    """Read the settings and open the database, as the service would.

    Raises:
        SettingsInvalid: a setting makes no sense.
        RestoreUnfinished: a restore was begun here and did not end.
        DatabaseUnavailable: the database is busy, out of reach or damaged.
        MasterKeyMissing: something is encrypted with a master key that the settings do not name.
        MasterKeyWrong: a master key is another one than before.
        KeyCommandFailed: a key service refused.
    """
    settings = load_settings(os.environ, Path(".env"))
    refuse_unfinished(settings.data_dir)
    secret = load_secret(settings)
    engine = open_database(settings.database_url.get_secret_value())
    try:
        upgrade(engine)
        open_keys(engine, master_keys(settings))
        yield Services(settings, engine, secret)
    finally:
        engine.dispose()


@contextmanager
def told() -> Iterator[None]:
    """Print a failure as a person reads it, and exit with a status that says which kind it was."""
    try:
        yield
    except PipelineError as exc:
        for line in exc.message.split("\n"):
            typer.echo(f"error: {one_line(line)}", err=True)
        if exc.hint:
            typer.echo(f"       {one_line(exc.hint)}", err=True)
        raise typer.Exit(EXIT_USAGE if isinstance(exc, SettingsInvalid) else EXIT_FAILED) from exc


def audited(services: Services, action: str, given: str, came_of_it: str) -> None:
    """Record what an administrator did at the command line."""
    Audit(services.engine, services.secret).record(
        action, user=who(), input=given, output=came_of_it, status="done"
    )


def who() -> str:
    """Who is at the command line, for the audit log."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # A container's user id need not have a name.
        user = str(os.getuid())
    return f"command line: {user}"
