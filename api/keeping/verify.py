"""Verifies everything: every checksum, the database against the disk, and the disk against the database."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from api.audit import Audit
from api.errors import NotFound
from api.jobs.folders import checked, is_incoming
from api.jobs.model import Job, JobStatus
from api.jobs.results import manifest_sum
from api.jobs.store import JobFilter, every_job
from api.keeping.holdings import Holdings
from api.transactions import check_pages
from pipeline.errors import ManifestInvalid, PipelineError
from pipeline.manifest import Manifest, read_manifest
from pipeline.scratch import disk_errors

_UNFINISHED = (JobStatus.QUEUED, JobStatus.RUNNING)
_GONE = (JobStatus.EXPIRED, JobStatus.ERASED)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it should be.

    Attributes:
        path: below the folder of uploads or outputs, or ``database``.
        problem: ``missing``, ``changed``, ``unlisted`` (no manifest speaks of it), ``orphan`` (the database
            knows no such job), ``left`` (it should have gone) or ``damaged``.
        job_id: of the job that it concerns; may be empty.
    """

    path: str
    problem: str
    job_id: str = ""


@dataclass(slots=True)
class Verified:
    """What a verification found.

    Attributes:
        jobs: that the database knows.
        files: that were read.
        bytes: of them.
        seconds: that it took.
        faults: what is wrong.
    """

    jobs: int = 0
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    faults: list[Fault] = field(default_factory=list)


def verify(holdings: Holdings, audit: Audit | None = None) -> Verified:
    """Read everything that the service keeps for good; it may be at work meanwhile.

    Caches and checkpoints are not looked at: whatever is lost of them is made again.

    Args:
        holdings: what the service holds.
        audit: its audit log, which knows the hash of each manifest; None: manifests are only read.

    Raises:
        DatabaseUnavailable: the database is busy or out of reach.
        OutputUnwritable: a file cannot be read.
    """
    found = Verified()
    began = time.monotonic()
    try:
        check_pages(holdings.engine)
    except PipelineError as exc:
        if "damaged" not in exc.message:
            raise
        found.faults.append(Fault("database", "damaged"))
        return found
    sums = {} if audit is None else _manifest_sums(audit)
    with disk_errors("what is kept"):
        for job in list(every_job(holdings.store, JobFilter())):
            found.jobs += 1
            faults = list(_of_job(holdings, job, found, sums.get(job.id)))
            if faults:
                # It may have ended, expired or been erased meanwhile.
                now = holdings.store.get(job.id)
                found.faults += faults if now is not None and now.status is job.status else []
        found.faults += _strays(holdings)
    found.seconds = time.monotonic() - began
    return found


def _manifest_sums(audit: Audit) -> dict[str, str]:
    """By job, what the audit log said of its manifest when it ended last."""
    ends = (entry for entry in audit.entries() if entry.action == "job.end")
    return {entry.job_id: entry.output for entry in ends if entry.output.startswith("manifest sha256 ")}


def _of_job(holdings: Holdings, job: Job, found: Verified, manifest: str | None) -> Iterator[Fault]:
    folder, upload = holdings.folders.result(job.id), holdings.folders.upload(job.id)
    if job.status in _UNFINISHED or (job.status not in _GONE and job.input_path is not None):
        yield from _compared(upload / "input", job.input_sha256, job.id, "uploads", found)
    if job.status in {JobStatus.SUCCEEDED, JobStatus.EXPIRED}:
        yield from _of_result(job, folder, found)
        if manifest is not None and manifest_sum(holdings.folders, job.id) not in {manifest, ""}:
            yield Fault(f"outputs/{job.id}/manifest.json", "changed", job.id)
    if job.status in _GONE and upload.exists():
        yield Fault(f"uploads/{job.id}", "left", job.id)
    if job.status is JobStatus.ERASED and folder.exists():
        yield Fault(f"outputs/{job.id}", "left", job.id)


def _of_result(job: Job, folder: Path, found: Verified) -> Iterator[Fault]:
    name = f"outputs/{job.id}/manifest.json"
    try:
        manifest = read_manifest(folder)
    except ManifestInvalid:
        yield Fault(name, "changed" if (folder / "manifest.json").exists() else "missing", job.id)
        return
    found.files += 1
    if manifest.job_id != job.id or manifest.input.sha256 != job.input_sha256:
        yield Fault(name, "changed", job.id)
    if job.status is JobStatus.EXPIRED:
        listed: set[str] = set()
    else:
        listed = {artifact.path for artifact in manifest.artifacts}
        yield from _of_artifacts(job, folder, manifest, found)
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).as_posix()
        if not path.is_dir() and inside != "manifest.json" and inside not in listed:
            problem = "left" if job.status is JobStatus.EXPIRED else "unlisted"
            yield Fault(f"outputs/{job.id}/{inside}", problem, job.id)


def _of_artifacts(job: Job, folder: Path, manifest: Manifest, found: Verified) -> Iterator[Fault]:
    for artifact in manifest.artifacts:
        path = folder / artifact.path
        if not path.resolve().is_relative_to(folder.resolve()):
            yield Fault(f"outputs/{job.id}/{artifact.path}", "changed", job.id)
            continue
        yield from _compared(path, artifact.sha256, job.id, "outputs", found)


def _compared(path: Path, sha256: str, job_id: str, root: str, found: Verified) -> Iterator[Fault]:
    name = f"{root}/{job_id}/{path.as_posix().rpartition(f'/{job_id}/')[2]}"
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            found.bytes += file.tell()
    except FileNotFoundError:
        yield Fault(name, "missing", job_id)
        return
    found.files += 1
    if digest != sha256:
        yield Fault(name, "changed", job_id)


def _strays(holdings: Holdings) -> Iterator[Fault]:
    folders = holdings.folders
    for root, name in ((folders.outputs, "outputs"), (folders.uploads, "uploads")):
        for path in sorted(root.iterdir()):
            if (
                path in {folders.attempts, folders.resumable}
                or is_incoming(path)
                or path.name == "lost+found"  # of the disk
            ):
                continue
            try:
                known = holdings.store.get(checked(path.name)) is not None
            except NotFound:
                known = False
            if not known and path.exists():
                yield Fault(f"{name}/{path.name}", "orphan")
