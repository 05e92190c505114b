"""``python -m api audit``: verify and export the audit log."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import typer

from api.audit import FIELDS, Audit, AuditEntry, Verdict
from api.cli_services import open_services, told
from api.keeping.errors import ReceiptInvalid
from api.keeping.signatures import Signer, check_signature

EXIT_BROKEN = 6

app = typer.Typer(help="Verify and export the audit log.", no_args_is_help=True)


class ExportFormat(StrEnum):
    """How entries are written."""

    JSONL = "jsonl"
    CSV = "csv"


@app.command()
def verify(
    head: Annotated[
        str | None, typer.Option(help="Where the log ended when it was last verified: 12:ab34…")
    ] = None,
) -> None:
    """Recompute the chain; print where it ends, or the first entry that is wrong. Note the end elsewhere."""
    with told(), open_services() as services:
        verdict = Audit(services.engine, services.secret).verify(head)
    _refuse_broken(verdict)
    erased = f", {verdict.erased} of them without words that were erased" if verdict.erased else ""
    typer.echo(f"{verdict.entries} entries are intact{erased}; the log ends at\n{verdict.head}")


@app.command()
def checkpoint() -> None:
    """Verify the log and print a signed record of where it ends: keep it elsewhere, for verify-checkpoint."""
    with told(), open_services() as services:
        verdict = Audit(services.engine, services.secret).verify()
        _refuse_broken(verdict)
        at = datetime.now(UTC).isoformat(timespec="seconds")
        said = {"kind": "audit checkpoint", "at": at, "head": verdict.head, "entries": verdict.entries}
        signed = Signer(services.secret).signed(said)
    typer.echo(json.dumps(signed))


@app.command("verify-checkpoint")
def verify_checkpoint(
    path: Annotated[Path, typer.Argument(help="File that checkpoint printed.")],
    key: Annotated[str | None, typer.Option(help="Trusted public key. Default: this server's.")] = None,
) -> None:
    """Check that the log still holds all that a checkpoint vouches for."""
    with told(), open_services() as services:
        try:
            said = json.loads(path.read_bytes())
            head = str(said["head"])
        except (OSError, ValueError, KeyError, TypeError) as exc:
            hint = "Give the file that checkpoint printed."
            raise ReceiptInvalid(f"{path.name!r} is no checkpoint.", hint) from exc
        check_signature(said, key or Signer(services.secret).public_key)
        verdict = Audit(services.engine, services.secret).verify(head)
    _refuse_broken(verdict)
    typer.echo(f"The log holds all that it held at {said['at']}, unchanged.")


def _refuse_broken(verdict: Verdict) -> None:
    if verdict.broken_at is not None:
        typer.echo(f"broken at entry {verdict.broken_at}: {verdict.reason}", err=True)
        raise typer.Exit(EXIT_BROKEN)


@app.command()
def export(
    format: Annotated[ExportFormat, typer.Option(help="jsonl or csv.")] = ExportFormat.JSONL,
    after: Annotated[int, typer.Option(min=0, help="Number of the entry before the first.")] = 0,
) -> None:
    """Write the entries, in order, to standard output."""
    with told(), open_services() as services:
        write_entries(Audit(services.engine, services.secret).entries(after), format, sys.stdout)


def write_entries(entries: Iterable[AuditEntry], style: ExportFormat, out: TextIO) -> None:
    """Write entries, one a line.

    Args:
        entries: in order.
        style: JSON holds them as they were hashed. In CSV a value that a spreadsheet would take for a formula
            gets an apostrophe in front.
        out: where to.
    """
    if style is ExportFormat.JSONL:
        for entry in entries:
            out.write(json.dumps(asdict(entry)) + "\n")
        return
    table = csv.writer(out, lineterminator="\n")
    table.writerow(FIELDS)
    for entry in entries:
        table.writerow(_cells(entry))


def _cells(entry: AuditEntry) -> Iterator[str]:
    for name in FIELDS:
        value = str(getattr(entry, name))
        # OWASP, "CSV injection": these begin a formula.
        yield f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
