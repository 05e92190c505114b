"""``python -m api keys``: make, list and revoke API keys."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from api.cli_services import audited, open_services, told
from api.errors import InvalidRequest
from api.security.keys import KeyStore
from api.security.principal import ApiKey, Quota, Scope
from api.telemetry import one_line

AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]

app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="To recognise the key by.")],
    owner: Annotated[
        str | None,
        typer.Option(help="Whose jobs it sees. Default: the name. A new key of an owner sees the old ones'."),
    ] = None,
    scopes: Annotated[
        str, typer.Option(help="Comma-separated: submit, read, admin, metrics; or all.")
    ] = "submit,read",
    expires_days: Annotated[
        float | None, typer.Option(help="Days until it is refused. Default: never.")
    ] = None,
    quota: Annotated[
        str, typer.Option(help="Such as jobs=50,minutes=600: jobs a day, minutes of audio a month.")
    ] = "",
    priority: Annotated[
        int, typer.Option(help="Highest that its jobs may ask for, 0 to 9: higher runs first.")
    ] = 0,
    retention_days: Annotated[
        int | None, typer.Option(help="Days for which its jobs' audio is kept; 0: for ever.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once, on standard output."""
    with told(), open_services() as services:
        keys = KeyStore(services.engine, services.secret)
        made, key = keys.create(
            name,
            owner=owner,
            scopes=_scopes(scopes),
            quota=_quota(quota),
            max_priority=priority,
            retention_days=retention_days,
            expires_days=expires_days,
        )
        audited(services, "key.create", f"{made.name} for {made.owner}: {_listed(made)}", made.id)
    if as_json:
        typer.echo(json.dumps({**_described(made), "key": key}))
        return
    typer.echo(f"The key {made.id} for {made.owner}: {_listed(made)}. It is shown only now:", err=True)
    typer.echo(key)


@app.command("list")
def list_keys(
    everything: Annotated[bool, typer.Option("--all", help="Revoked and expired ones too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the keys that there are; not the keys themselves, which nobody has stored."""
    with told(), open_services() as services:
        found = KeyStore(services.engine, services.secret).find()
    shown = [key for key in found if everything or _state(key) == "valid"]
    if as_json:
        typer.echo(json.dumps([_described(key) for key in shown], indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "name", "owner", "begins", "scopes", "priority", "state", "created", "last used"):
        # An id that is broken over two lines cannot be copied.
        table.add_column(heading, overflow="fold", no_wrap=heading == "id")
    for key in shown:
        cells = (
            key.id, key.name, key.owner, key.shown, _listed(key), str(key.max_priority), _state(key),
            _day(key.created_at), _day(key.last_used_at),
        )  # fmt: skip
        table.add_row(*(escape(one_line(cell)) for cell in cells))
    Console().print(table)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="Its id: see list.")]) -> None:
    """Refuse a key from now on."""
    with told(), open_services() as services:
        key = KeyStore(services.engine, services.secret).revoke(key_id)
        audited(services, "key.revoke", key.id, key.name)
    typer.echo(f"The key {key.id} ({key.name}) is refused from now on.")


@app.command()
def forget() -> None:
    """Delete the keys that were made with a server's secret that is lost: nobody can use them any more."""
    with told(), open_services() as services:
        count = KeyStore(services.engine, services.secret).forget()
        audited(services, "key.forget", "", str(count))
    typer.echo(f"{count} keys are deleted.")


def _scopes(text: str) -> frozenset[Scope]:
    names = {part.strip() for part in text.split(",") if part.strip()}
    if names == {"all"}:
        return frozenset(Scope)
    unknown = names - set(Scope)
    if unknown:
        raise InvalidRequest(
            f"There is no scope {sorted(unknown)[0]!r}.", f"Scopes are {', '.join(Scope)}; or all."
        )
    return frozenset(Scope(name) for name in names)


def _quota(text: str) -> Quota:
    values = dict.fromkeys(("jobs", "minutes"), 0)
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.partition("=")
        if name not in values or not number.isdecimal() or int(number) < 1:
            raise InvalidRequest(f"{part!r} is no quota.", "Write jobs=50,minutes=600.")
        values[name] = int(number)
    return Quota(
        jobs_per_day=values["jobs"] or None,
        audio_s_per_month=values["minutes"] * 60.0 if values["minutes"] else None,
    )


def _state(key: ApiKey) -> str:
    return key.state(datetime.now(UTC))


def _listed(key: ApiKey) -> str:
    return ", ".join(scope for scope in Scope if scope in key.scopes)


def _day(at: datetime | None) -> str:
    return "" if at is None else at.strftime("%Y-%m-%d %H:%M")


def _described(key: ApiKey) -> dict[str, object]:
    def iso(at: datetime | None) -> str | None:
        return None if at is None else at.isoformat()

    return {
        "id": key.id,
        "name": key.name,
        "owner": key.owner,
        "source": key.source,
        "begins": key.shown,
        "scopes": sorted(key.scopes),
        "state": _state(key),
        "jobs_per_day": key.quota.jobs_per_day,
        "audio_s_per_month": key.quota.audio_s_per_month,
        "max_priority": key.max_priority,
        "retention_days": key.retention_days,
        "created_at": iso(key.created_at),
        "expires_at": iso(key.expires_at),
        "revoked_at": iso(key.revoked_at),
        "last_used_at": iso(key.last_used_at),
    }
