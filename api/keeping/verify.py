"""Verifies everything: every checksum, the database against the disk, and the disk against the database."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

from api.audit import Audit
from api.encryption.errors import DataKeyGone
from api.encryption.stored import Stored
from api.errors import Gone, NotFound
from api.jobs.folders import Folders, checked, is_incoming
from api.jobs.model import Job, JobStatus
from api.jobs.shared import Shared, name_of
from api.jobs.store import JobFilter, every_job
from api.keeping.held_files import HeldFiles
from api.keeping.holdings import Holdings
from api.keeping.scratch import scratch_folder
from api.transactions import check_pages
from pipeline.errors import ManifestInvalid, PipelineError
from pipeline.manifest import Artifact, parse_manifest
from pipeline.scratch import disk_errors

_UNFINISHED = (JobStatus.QUEUED, JobStatus.RUNNING)
_GONE = (JobStatus.EXPIRED, JobStatus.ERASED)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it should be.

    Attributes:
        path: below the folder of uploads or outputs, or ``database``.
        problem: ``missing``, ``changed``, ``unlisted`` (no manifest speaks of it), ``orphan`` (the database
            knows no such job), ``left`` (it should have gone), ``unreadable`` (it is encrypted, and its job's
            key is gone) or ``damaged``.
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
    folders = holdings.folders
    place = nullcontext(folders.data) if folders.shared is None else scratch_folder(folders.data)
    with disk_errors("what is kept"), place as scratch:
        files = HeldFiles(folders, scratch)
        for job in list(every_job(holdings.store, JobFilter())):
            found.jobs += 1
            faults = list(_of_job(files, job, found, sums.get(job.id)))
            if faults:
                # It may have ended, expired or been erased meanwhile.
                now = holdings.store.get(job.id)
                found.faults += faults if now is not None and now.status is job.status else []
        found.faults += _strays(holdings) if folders.shared is None else _strays_of(folders.shared, holdings)
    found.seconds = time.monotonic() - began
    return found


def _manifest_sums(audit: Audit) -> dict[str, str]:
    """By job, what the audit log said of its manifest when it ended last."""
    ends = (entry for entry in audit.entries() if entry.action == "job.end")
    return {entry.job_id: entry.output for entry in ends if entry.output.startswith("manifest sha256 ")}


def _of_job(files: HeldFiles, job: Job, found: Verified, manifest: str | None) -> Iterator[Fault]:
    if job.status in _UNFINISHED or (job.status not in _GONE and job.input_path is not None):
        with files.recording(job.id) as recording:
            yield from _compared(recording, job.input_sha256, found)
    if job.status in {JobStatus.SUCCEEDED, JobStatus.EXPIRED}:
        yield from _of_result(files, job, found, manifest)
    folders = files.folders
    recording_left, result_left = folders.upload(job.id).exists(), folders.result(job.id).exists()
    if folders.shared is not None:
        recording_left, result_left = folders.shared.has_input(job.id), bool(folders.shared.names(job.id))
    if job.status in _GONE and recording_left:
        yield Fault(f"uploads/{job.id}", "left", job.id)
    if job.status is JobStatus.ERASED and result_left:
        yield Fault(f"outputs/{job.id}", "left", job.id)


def _of_result(files: HeldFiles, job: Job, found: Verified, manifest_sum: str | None) -> Iterator[Fault]:
    name = f"outputs/{job.id}/manifest.json"
    try:
        with files.manifest(job.id) as stored:
            data = stored.read()
        manifest = parse_manifest(data)
    except FileNotFoundError:
        yield Fault(name, "missing", job.id)
        return
    except (ManifestInvalid, Gone) as exc:
        yield Fault(name, _problem(exc), job.id)
        return
    found.files += 1
    said = f"manifest sha256 {hashlib.sha256(data).hexdigest()}"
    other = manifest.job_id != job.id or manifest.input.sha256 != job.input_sha256
    if other or manifest_sum not in {None, said}:
        yield Fault(name, "changed", job.id)
    artifacts = [] if job.status is JobStatus.EXPIRED else manifest.artifacts
    yield from _of_artifacts(files, job, artifacts, found)
    yield from _others(files.folders, job, artifacts)


def _of_artifacts(
    files: HeldFiles, job: Job, artifacts: Sequence[Artifact], found: Verified
) -> Iterator[Fault]:
    folder = files.folders.result(job.id)
    for artifact in artifacts:
        if not (folder / artifact.path).resolve().is_relative_to(folder.resolve()):
            yield Fault(f"outputs/{job.id}/{artifact.path}", "changed", job.id)
            continue
        with files.artifact(job.id, artifact) as file:
            yield from _compared(file, artifact.sha256, found)


def _others(folders: Folders, job: Job, artifacts: Sequence[Artifact]) -> Iterator[Fault]:
    """What lies beside the artifacts of a result."""
    problem = "left" if job.status is JobStatus.EXPIRED else "unlisted"
    if folders.shared is not None:
        names = folders.shared.names(job.id) - {name_of(artifact) for artifact in artifacts}
    else:
        folder = folders.result(job.id)
        paths = (path for path in folder.rglob("*") if not path.is_dir())
        names = {path.relative_to(folder).as_posix() for path in paths} - {one.path for one in artifacts}
    for name in sorted(names - {"manifest.json"}):
        yield Fault(f"outputs/{job.id}/{name}", problem, job.id)


def _compared(stored: Stored, sha256: str, found: Verified) -> Iterator[Fault]:
    try:
        with stored.open() as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            found.bytes += file.tell()
    except FileNotFoundError:
        yield Fault(stored.name, "missing", stored.job_id)
        return
    except Gone as exc:
        yield Fault(stored.name, _problem(exc), stored.job_id)
        return
    found.files += 1
    if digest != sha256:
        yield Fault(stored.name, "changed", stored.job_id)


def _problem(exc: ManifestInvalid | Gone) -> str:
    return "unreadable" if isinstance(exc, DataKeyGone) else "changed"


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


def _strays_of(shared: Shared, holdings: Holdings) -> Iterator[Fault]:
    for job_id in sorted(shared.jobs()):
        try:
            known = holdings.store.get(checked(job_id)) is not None
        except NotFound:
            known = False
        if not known:
            yield Fault(f"storage/{job_id}", "orphan")
