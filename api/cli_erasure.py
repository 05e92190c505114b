"""``python -m api erasure``, ``holds`` and ``retention``: what is deleted, and what must not be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from api.audit import ERASE, Audit
from api.cli_backup import EXIT_BROKEN, erase_in_vault, holdings_of
from api.cli_services import Services, audited, open_services, told, who
from api.clocks import SteadyClock
from api.errors import InvalidRequest
from api.jobs.housekeeping import expire
from api.jobs.retention import due
from api.keeping.erasure import Eraser, Selected, what_is_left
from api.keeping.errors import ReceiptInvalid
from api.keeping.holds import HoldKind, Holds
from api.keeping.places import policy_of, record_expiry
from api.keeping.portability import export
from api.keeping.signatures import Signer, check_signature
from api.keeping.snapshot import scrub_free_space
from api.settings import MIB
from api.uploads.store import Uploads

erasure = typer.Typer(help="Erase, prove it, and hand out what is kept of somebody.", no_args_is_help=True)
holds = typer.Typer(help="Place, list and release legal holds.", no_args_is_help=True)

JobOption = Annotated[str | None, typer.Option("--job", help="Id of a job.")]
OwnerOption = Annotated[str | None, typer.Option("--owner", help="All of an owner: jobs, keys, uploads.")]
SubjectOption = Annotated[str | None, typer.Option("--subject", help="All jobs that were submitted with it.")]


def eraser_of(services: Services) -> Eraser:
    """The eraser of a service."""
    settings, holdings = services.settings, holdings_of(services)
    uploads = Uploads(
        holdings.folders.resumable,
        holdings.folders.uploads,
        expiry_s=settings.upload_expiry_s,
        most=settings.upload_count,
        most_bytes=settings.upload_total_mb * MIB,
    )
    audit = Audit(services.engine, services.secret)
    beside = settings.backup_dir / "erased"
    return Eraser(holdings, services.secret, audit, Holds(services.engine), uploads, beside=beside)


@erasure.command("run")
def run_erasure(
    job: JobOption = None,
    owner: OwnerOption = None,
    subject: SubjectOption = None,
    backups: Annotated[bool, typer.Option(help="Whether backups are written anew without it.")] = True,
) -> None:
    """Erase for good, in backups too, and print the signed receipt."""
    with told(), open_services() as services:
        eraser = eraser_of(services)
        receipt = eraser.erase(_selected(eraser, job, owner, subject), who())
        scrub_free_space(services.engine)
        rewritten = erase_in_vault(services) if backups else 0
    typer.echo(json.dumps(receipt, indent=1))
    typer.echo(f"{len(receipt['jobs'])} jobs erased; {rewritten} backups written anew.", err=True)


@erasure.command("backups")
def erase_in_backups() -> None:
    """Write every backup anew that still holds something that was erased."""
    with told(), open_services() as services:
        count = erase_in_vault(services)
    typer.echo(f"{count} backups written anew.")


@erasure.command("verify")
def verify_receipt(
    receipt: Annotated[Path, typer.Argument(help="As run printed it.")],
    key: Annotated[str | None, typer.Option(help="Trusted public key. Default: this server's.")] = None,
) -> None:
    """Check a receipt: its signature, its entry in the audit log, and that nothing has come back."""
    with told(), open_services() as services:
        try:
            said = json.loads(receipt.read_bytes())
            jobs = [str(job_id) for job_id in said["jobs"]]
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise ReceiptInvalid(
                f"{receipt.name!r} is no receipt.", "Give the file that run printed."
            ) from exc
        check_signature(said, key or Signer(services.secret).public_key)
        wrong = list(what_is_left(holdings_of(services), jobs))
        wrong += _not_told(Audit(services.engine, services.secret), jobs)
    for line in wrong:
        typer.echo(line, err=True)
    if wrong:
        raise typer.Exit(EXIT_BROKEN)
    typer.echo(f"The receipt {said['id']} is genuine, and nothing of its {len(jobs)} jobs is left.")


@erasure.command("key")
def public_key() -> None:
    """Print the public key that receipts and checkpoints are verified with."""
    with told(), open_services() as services:
        typer.echo(Signer(services.secret).public_key)


@erasure.command("export")
def export_subject(
    to: Annotated[Path, typer.Option(help="The zip file to write.")],
    job: JobOption = None,
    owner: OwnerOption = None,
    subject: SubjectOption = None,
) -> None:
    """Write everything about somebody into a zip that they can take away."""
    with told(), open_services() as services:
        selected = _selected(eraser_of(services), job, owner, subject)
        count = export(holdings_of(services), Audit(services.engine, services.secret), selected, to)
        audited(services, "export", f"by {selected.by}", f"{count} files")
    typer.echo(f"{to}: {count} files of {len(selected.jobs)} jobs")


@holds.command("place")
def place_hold(
    kind: Annotated[str, typer.Argument(help="job or owner")],
    target: Annotated[str, typer.Argument(help="Id of the job, or name of the owner.")],
    reason: Annotated[str, typer.Option(help="Such as the number of a case.")],
) -> None:
    """Let nothing of a job or an owner be deleted."""
    if kind not in ("job", "owner"):
        raise typer.BadParameter("job or owner", param_hint="KIND")
    chosen: HoldKind = "job" if kind == "job" else "owner"
    with told(), open_services() as services:
        hold = Holds(services.engine).place(chosen, target, reason, who())
        audited(services, "hold.place", f"{kind} {target}", hold.id)
    typer.echo(hold.id)


@holds.command("release")
def release_hold(hold_id: Annotated[str, typer.Argument(help="Its id: see list.")]) -> None:
    """End a hold."""
    with told(), open_services() as services:
        hold = Holds(services.engine).release(hold_id)
        audited(services, "hold.release", hold.id, f"{hold.kind} {hold.target}")
    typer.echo(f"The hold {hold.id} on {hold.kind} {hold.target} has ended.")


@holds.command("list")
def list_holds(
    everything: Annotated[bool, typer.Option("--all", help="Released ones too.")] = False,
) -> None:
    """Show the holds as JSON, one a line."""
    with told(), open_services() as services:
        for hold in Holds(services.engine).find(released=everything):
            typer.echo(json.dumps(asdict(hold), default=str))


def retention_command(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would go.")] = False,
) -> None:
    """Delete audio that was kept long enough, as the service itself does every hour."""
    with told(), open_services() as services:
        holdings = holdings_of(services)
        policy = policy_of(services.settings, Holds(services.engine).held())
        at = SteadyClock(holdings.folders.data / "clock").now()
        if dry_run:
            found = list(due(holdings.store, holdings.folders, policy, at))
            for one in found:
                ended = one.job.finished_at
                typer.echo(f"{one.job.id}  {one.reason:<4}  {one.bytes:>12}  ended {ended:%Y-%m-%d}")
            typer.echo(f"{len(found)} jobs, {sum(one.bytes for one in found)} bytes would go.", err=True)
            return
        told_of = partial(record_expiry, Audit(services.engine, services.secret), who())
        count = expire(holdings.store, holdings.folders, policy, at, told_of)
    typer.echo(f"The audio of {count} jobs is gone; their manifests stay.")


def _not_told(audit: Audit, job_ids: list[str]) -> Iterator[str]:
    """What the audit log does not say of an erasure, in words.

    The very entry that a receipt names is not asked for: after a restore another one tells of the erasure.
    """
    verdict = audit.verify()
    if verdict.broken_at is not None:
        yield f"the audit log is broken at {verdict.broken_at}: {verdict.reason}"
    told_of = {entry.job_id for entry in audit.entries() if entry.action == ERASE}
    for job_id in job_ids:
        if job_id not in told_of:
            yield f"the audit log does not tell of the erasure of the job {job_id}"


def register(app: typer.Typer) -> None:
    """Add the commands to the service's command line."""
    app.add_typer(erasure, name="erasure")
    app.add_typer(holds, name="holds")
    app.command("retention")(retention_command)


def _selected(eraser: Eraser, job: str | None, owner: str | None, subject: str | None) -> Selected:
    given = {"job": job, "owner": owner, "subject": subject}
    chosen = [(by, value) for by, value in given.items() if value is not None]
    if len(chosen) != 1:
        raise InvalidRequest("Say of what.", "Give one of --job, --owner and --subject.")
    by, value = chosen[0]
    return eraser.select("job" if by == "job" else "owner" if by == "owner" else "subject", value)
