"""``python -m api report``: one command for each line of the maintenance calendar (docs/MAINTENANCE.md)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from api.audit import Audit
from api.cli_backup import EXIT_BROKEN, holdings_of
from api.cli_services import Services, open_services, told
from api.keeping import reports
from api.keeping.dependencies import audit_dependencies
from api.settings import MIB

Days = Annotated[int, typer.Option(min=1, help="How far back.")]

app = typer.Typer(help="Report on the service, as JSON.", no_args_is_help=True)


@app.command()
def health(
    backup_hours: Annotated[float, typer.Option(help="Age at which the last backup is too old.")] = 26.0,
) -> None:
    """Whether all is well; exits with 6 where it is not."""
    with told(), open_services() as services:
        audit = Audit(services.engine, services.secret)
        found = reports.health(holdings_of(services), audit, _now(), backup_stale_s=backup_hours * 3600)
    _print(found)
    if not found["ok"]:
        raise typer.Exit(EXIT_BROKEN)


@app.command()
def errors(days: Days = 1) -> None:
    """Why jobs failed, and what was logged as an error."""
    with told(), open_services() as services:
        _print(reports.errors(holdings_of(services), _now(), days))


@app.command()
def disk(days: Days = 30) -> None:
    """How full the disks are, with what, and when they will be full."""
    with told(), open_services() as services:
        settings = services.settings
        kept = timedelta(days=settings.job_retention_days) if settings.job_retention_days else None
        reserve = settings.disk_reserve_mb * MIB
        _print(reports.disk(holdings_of(services), _now(), days, reserve=reserve, kept=kept))


@app.command()
def capacity(days: Days = 30) -> None:
    """How much work there is, how long it waits, how many workers it needs."""
    with told(), open_services() as services:
        _print(reports.capacity(holdings_of(services), _now(), days, _workers(services)))


@app.command()
def cost(
    days: Days = 30,
    price: Annotated[float, typer.Option(min=0, help="Of 10^9 bytes and month.")] = 0.023,
) -> None:
    """What could be saved: idle workers, caches, audio that nobody has used for long."""
    with told(), open_services() as services:
        audit = Audit(services.engine, services.secret)
        _print(reports.cost(holdings_of(services), audit, _now(), days, _workers(services), price))


@app.command()
def dependencies(
    requirements: Annotated[Path, typer.Option(help="The pins to look at.")] = Path("requirements.txt"),
    osv_url: Annotated[
        str | None, typer.Option(help="Of a service that speaks like OSV: a mirror. Default: PyPI is asked.")
    ] = None,
) -> None:
    """Which dependencies have known vulnerabilities, by pip-audit, which asks its database by the network."""
    with told():
        audited = audit_dependencies(requirements, osv_url)
    _print({"packages": audited.packages, "skipped": audited.skipped, "vulnerable": audited.vulnerable})
    if audited.vulnerable:
        raise typer.Exit(EXIT_BROKEN)


def _workers(services: Services) -> int:
    return services.settings.workers


def _now() -> datetime:
    return datetime.now(UTC)


def _print(found: reports.Report) -> None:
    typer.echo(json.dumps(found, indent=2))
