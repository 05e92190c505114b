"""``python -m api backup``, ``restore``, ``verify`` and ``drill``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Engine

from api.audit import Audit
from api.cli_services import Services, audited, open_services, told, who
from api.jobs.folders import Folders
from api.jobs.sql_store import SqlJobStore
from api.keeping.archive import Kind, read
from api.keeping.backup import BackedUp, Tiers, back_up
from api.keeping.drill import drill, figures
from api.keeping.errors import BackupUnknown
from api.keeping.holdings import Holdings
from api.keeping.places import folders_of, master_keys, vault_of, with_keys
from api.keeping.restore import Restored, restore
from api.keeping.scrub import scrub
from api.keeping.tombstones import standing
from api.keeping.vault import Stored
from api.keeping.verify import Fault, verify
from api.security.secret import ServerSecret, load_secret
from api.settings_load import load_settings

EXIT_BROKEN = 6

AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
Where = Annotated[Path | None, typer.Option(help="Folder of plain backups. Default: as the settings say.")]


def holdings_of(services: Services) -> Holdings:
    """What a service holds."""
    folders = with_keys(folders_of(services.settings), services.engine, services.settings)
    return Holdings(services.engine, SqlJobStore(services.engine), folders)


def erase_in_vault(services: Services) -> int:
    """Write the backups anew that hold what was erased since this was done last: how many."""
    settings, holdings = services.settings, holdings_of(services)
    stones = list(standing([holdings.tombstones]).values())
    done = scrub(vault_of(settings), stones, services.secret, settings.data_dir)
    for stored in done:
        audited(services, "backup.erase", stored.name, "written anew")
    return len(done)


def backup_command(
    kind: Annotated[
        str, typer.Option(help="manifests: database, manifests, recordings that wait; full: all files too.")
    ] = "manifests",
    to: Where = None,
    listed: Annotated[bool, typer.Option("--list", help="Show the backups that there are.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Read every backup and compare every sum.")] = False,
    as_json: AsJson = False,
) -> None:
    """Back up the service, also while it works; the backup is read back before it counts."""
    if kind not in ("manifests", "full"):
        raise typer.BadParameter("manifests or full", param_hint="--kind")
    chosen: Kind = "full" if kind == "full" else "manifests"
    with told():
        settings = load_settings(os.environ, Path(".env"))
        vault = vault_of(settings, to)
        if listed or check:
            found = vault.backups()
            if check:
                for stored in found:
                    with vault.opened(stored) as stream:
                        read(stream, name=stored.name)
            _show(found, as_json)
            return
        with open_services() as services:
            tiers = Tiers(settings.backup_days, settings.backup_monthly_days)
            done = back_up(holdings_of(services), vault, chosen, tiers)
            audited(services, "backup", chosen, done.stored.name)
            if to is None:
                erase_in_vault(services)
    _tell(done, as_json)


def restore_command(
    at: Annotated[
        str | None, typer.Option(help="The newest backup from before: 2026-11-24T10:00:00Z. Default: any.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="Folder of plain backups. Default: as the settings say.")
    ] = None,
    only_database: Annotated[
        bool, typer.Option("--only-database", help="Files are still there; the database is missing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Restore a backup into the empty place that the settings name."""
    with told():
        settings = load_settings(os.environ, Path(".env"))
        moment = None if at is None else _moment(at)

        def record(engine: Engine, secret: ServerSecret, restored: Restored) -> None:
            said = f"{restored.jobs} jobs"
            Audit(engine, secret).record(
                "restore", user=who(), input=restored.stored.name, output=said, status="done"
            )

        restored = restore(
            vault_of(settings, source),
            folders_of(settings),
            settings.database_url.get_secret_value(),
            lambda: load_secret(settings),
            at=moment,
            only_database=only_database,
            beside=[(source or settings.backup_dir) / "erased"],
            masters=master_keys(settings),
            record=record,
        )
    if as_json:
        typer.echo(json.dumps(_described(restored), indent=2))
        return
    typer.echo(
        f"{restored.stored.name}: {restored.jobs} jobs, {restored.files} files, {restored.bytes} bytes in "
        f"{restored.seconds:.1f} s. {restored.unfinished} jobs go on when the service starts."
    )
    if restored.incomplete:
        typer.echo(f"{restored.incomplete} finished jobs have no audio: no full backup held it.")
    if restored.erased_again:
        typer.echo(f"{restored.erased_again} jobs were erased since the backup, and are erased again.")


def verify_command(as_json: AsJson = False) -> None:
    """Compare every file with its sum, the database with the disk, and the disk with the database."""
    with told(), open_services() as services:
        audit = Audit(services.engine, services.secret)
        found = verify(holdings_of(services), audit)
        verdict = None if found.faults == [Fault("database", "damaged")] else audit.verify()
    rate = found.bytes / max(found.seconds, 1e-9) / 1e6
    broken = [] if verdict is None or verdict.broken_at is None else [f"audit log: {verdict.reason}"]
    if as_json:
        typer.echo(json.dumps({**asdict(found), "audit": broken}, indent=2))
    else:
        for fault in found.faults:
            typer.echo(f"{fault.problem}: {fault.path}", err=True)
        for line in broken:
            typer.echo(line, err=True)
        typer.echo(f"{found.jobs} jobs, {found.files} files, {found.bytes} bytes, {rate:.0f} MB/s")
    if found.faults or broken:
        raise typer.Exit(EXIT_BROKEN)


def drill_command(
    source: Annotated[
        Path | None, typer.Option("--from", help="Folder of plain backups. Default: as the settings say.")
    ] = None,
    scratch: Annotated[
        Path | None, typer.Option(help="Folder with room for a restore. Default: DATA_DIR.")
    ] = None,
) -> None:
    """Restore the newest backup into a scratch place, verify it, and print how long that took, as JSON."""
    with told():
        settings = load_settings(os.environ, Path(".env"))
        data = settings.data_dir

        def secret_of(folders: Folders) -> ServerSecret:
            return load_secret(settings.model_copy(update={"data_dir": folders.data}))

        drilled = drill(
            vault_of(settings, source),
            scratch or data,
            data / "drill-status.json",
            secret_of,
            beside=[(source or settings.backup_dir) / "erased"],
            masters=master_keys(settings),
        )
    typer.echo(json.dumps(figures(drilled, datetime.now(UTC)), indent=2))
    if not drilled.passed:
        for fault in drilled.verified.faults:
            typer.echo(f"{fault.problem}: {fault.path}", err=True)
        raise typer.Exit(EXIT_BROKEN)


def register(app: typer.Typer) -> None:
    """Add the commands to the service's command line."""
    app.command("backup")(backup_command)
    app.command("restore")(restore_command)
    app.command("verify")(verify_command)
    app.command("drill")(drill_command)


def _moment(said: str) -> datetime:
    try:
        found = datetime.fromisoformat(said)
    except ValueError as exc:
        raise BackupUnknown(f"{said!r} is no time.", "Write it like 2026-11-24T10:00:00Z.") from exc
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _tell(done: BackedUp, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({**_listed(done.stored), "seconds": round(done.seconds, 3)}))
        return
    files = len(done.contents.files)
    typer.echo(
        f"{done.stored.name}: {files} files, {done.stored.bytes} bytes, {done.seconds:.1f} s, verified"
    )
    for stored in done.removed:
        typer.echo(f"removed: {stored.name}")


def _show(found: list[Stored], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([_listed(stored) for stored in found], indent=2))
        return
    for line in _lines(found):
        typer.echo(line)


def _lines(found: list[Stored]) -> Iterator[str]:
    for stored in found:
        yield f"{stored.created_at:%Y-%m-%d %H:%M:%S}Z  {stored.kind:<9}  {stored.bytes:>14}  {stored.name}"


def _listed(stored: Stored) -> dict[str, object]:
    return {**asdict(stored), "created_at": stored.created_at.isoformat()}


def _described(restored: Restored) -> dict[str, object]:
    plain = {name: value for name, value in asdict(restored).items() if name not in {"stored", "base"}}
    base = None if restored.base is None else _listed(restored.base)
    return {"backup": _listed(restored.stored), "base": base, **plain}
