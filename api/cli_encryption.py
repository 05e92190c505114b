"""``python -m api encryption``: make master keys, see what they wrap, and change them."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from sqlalchemy import func, select

from api.cli_services import audited, open_services, told
from api.encryption.data_keys import counts, open_keys
from api.encryption.master_keys import new_key
from api.encryption.tables import data_keys
from api.errors import SettingsInvalid
from api.jobs.model import JobStatus
from api.jobs.tables import jobs
from api.keeping.places import master_keys
from api.transactions import reading

app = typer.Typer(help="Encryption at rest: master keys and what they wrap.", no_args_is_help=True)


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Of the key, such as the year and the month.")],
) -> None:
    """Print a new master key, for PIPELINE_ENCRYPTION_KEYS. Keep a copy of it where the backups are not."""
    typer.echo(new_key(name))


@app.command()
def status() -> None:
    """Print, as JSON, how many jobs' keys each master key wraps, and how many jobs are not encrypted."""
    with told(), open_services() as services:
        masters = master_keys(services.settings)
        known = counts(services.engine)
        plain = select(func.count()).where(
            jobs.c.id.not_in(select(data_keys.c.job_id)), jobs.c.status != JobStatus.ERASED
        )
        with reading(services.engine) as connection:
            unencrypted = connection.scalar(plain)
    told_of = {name: {"keys": count, "set": masters is not None and name in masters}
               for name, count in sorted(known.items())}  # fmt: skip
    current = None if masters is None else masters.current.name
    typer.echo(json.dumps({"current": current, "master_keys": told_of, "plain_jobs": unencrypted}, indent=2))


@app.command()
def rotate() -> None:
    """Wrap the keys of all jobs with the first master key; no recording is touched, and the service may run.

    Killed at any point, it is simply begun again. Afterwards the other master keys are needed no more, but by
    backups that are older.
    """
    with told(), open_services() as services:
        keys = open_keys(services.engine, masters := master_keys(services.settings))
        if keys is None or masters is None:
            raise SettingsInvalid(
                "PIPELINE_ENCRYPTION_KEYS: should be set: the new key, and after it the old one.",
                "docs/ENCRYPTION.md says how keys are changed.",
            )
        count = keys.rotate(lambda done: typer.echo(f"{done} keys", err=True))
        audited(services, "encryption.rotate", masters.current.name, f"{count} keys")
    typer.echo(f"{count} keys wrapped anew with {masters.current.name}")
