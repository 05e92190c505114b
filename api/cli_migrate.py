"""The command that moves a service from one machine to many."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli_services import EXIT_FAILED, service_settings, told


def migrate_store(
    source: Annotated[str, typer.Option("--from", help="The old database: sqlite:///…")] = "",
    target: Annotated[str, typer.Option("--to", help="The new database, empty: postgresql://…")] = "",
    files: Annotated[bool, typer.Option(help="Copy recordings and results to STORAGE too.")] = False,
    undo: Annotated[bool, typer.Option(help="Use the old database again.")] = False,
) -> None:
    """Move jobs, keys and the audit log to PostgreSQL, and files to STORAGE. Reads go on meanwhile."""
    with told():
        from api.database import open_database
        from api.errors import SettingsInvalid
        from api.keeping.places import folders_of, with_keys
        from api.migrate import upgrade
        from api.moving import copy_files, move_database, unseal

        if undo:
            old = open_database(source, create=False)
            unseal(old)
            old.dispose()
            typer.echo("the old database takes changes again")
            return
        if files:
            settings = service_settings(None)
            folders = folders_of(settings)
            if folders.shared is None:
                raise SettingsInvalid("--files needs STORAGE=s3://bucket/prefix, or a folder.")
            folders.make()
            engine = open_database(settings.database_url.get_secret_value())
            upgrade(engine)
            copied = copy_files(with_keys(folders, engine, settings), folders.shared, typer.echo)
            engine.dispose()
            typer.echo(
                f"{copied.recordings} recordings and {copied.results} results copied and read back; "
                f"{copied.known} were there"
            )
            if copied.damaged:
                raise typer.Exit(EXIT_FAILED)
        if source or target:
            old, new = open_database(source, create=False), open_database(target)
            moved = move_database(old, new, typer.echo)
            typer.echo(f"{sum(moved.rows.values())} rows moved; the old database takes no changes any more")
            old.dispose()
            new.dispose()
