"""Everything about a subject, an owner or a job as one archive that they can take away (GDPR, article 20)."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from api.audit import Audit
from api.encryption.stored import Stored
from api.jobs.model import Job
from api.keeping.erasure import Selected
from api.keeping.held_files import HeldFiles
from api.keeping.holdings import Holdings
from api.keeping.scratch import scratch_folder
from pipeline.scratch import disk_errors, sync_folder

_BLOCK = 1 << 20
_OURS = {"fence", "worker", "lease_until", "content_key", "input_path"}


def export(holdings: Holdings, audit: Audit, selected: Selected, target: Path) -> int:
    """Write all that is kept of a selection into a zip: records, recordings, results and audit entries.

    Args:
        holdings: what the service holds.
        audit: the audit log.
        selected: from `api.keeping.erasure.Eraser.select`.
        target: the archive; it is there whole or not at all.

    Returns:
        How many files it holds.

    Raises:
        DiskFull: no space left.
        OutputUnwritable: the operating system refuses.
    """
    ids = {job.id for job in selected.jobs}
    entries = [asdict(entry) for entry in audit.entries() if entry.job_id in ids]
    draft = target.with_name(f".{target.name}.partial")
    with disk_errors("the archive"):
        try:
            with draft.open("xb") as file:
                os.chmod(draft, 0o600)
                scratch = scratch_folder(holdings.folders.data)
                with scratch as place, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                    archive.writestr("audit.json", _json(entries))
                    for job in selected.jobs:
                        _add(HeldFiles(holdings.folders, place), job, archive)
                    count = len(archive.namelist())
                file.flush()
                os.fsync(file.fileno())
            draft.rename(target)
            sync_folder(target.parent)
        finally:
            draft.unlink(missing_ok=True)
    return count


def _add(files: HeldFiles, job: Job, archive: zipfile.ZipFile) -> None:
    record = {name: value for name, value in asdict(job).items() if name not in _OURS}
    archive.writestr(f"{job.id}/job.json", _json(record))
    with files.recording(job.id) as recording:
        if recording.path.is_file():
            # The user's name is a name and no path: a dot alone would be one.
            name = "".join(c if c.isprintable() and c not in '/\\:*?"<>|' else "_" for c in job.filename)
            _copy(recording, f"{job.id}/recording/{name.strip('. ') or 'recording'}", archive)
    for file in files.result(job.id):
        if file.path.is_file():
            _copy(file, file.name.removeprefix("outputs/"), archive)


def _copy(stored: Stored, name: str, archive: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo.from_file(stored.path, name)
    entry.file_size = stored.size()
    with stored.open() as source, archive.open(entry, "w") as target:
        shutil.copyfileobj(source, target, _BLOCK)


def _json(said: Any) -> str:
    return json.dumps(said, indent=2, default=str, ensure_ascii=False) + "\n"
