"""Erasure: everything of a job, an owner or a subject goes, and a signed receipt says so.

In this order, so that whoever kills it leaves what the next housekeeping finishes: a note of what is to go,
the tombstones, an entry in the audit log, the rows, the files. Backups are written anew after that, or with
the next one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from api.audit import ERASE, ERASE_OWNER, Audit
from api.batches.store import forget_subject, waits_about
from api.errors import Conflict, NotFound
from api.jobs.housekeeping import erase, remove_all
from api.jobs.model import Job, JobStatus
from api.jobs.retention import size_of
from api.jobs.store import JobFilter, every_job
from api.jobs.worker import settle
from api.keeping.erased_rows import erase_rows, is_owner, owner_id
from api.keeping.holdings import Holdings
from api.keeping.holds import Holds
from api.keeping.scratch import remove_strays
from api.keeping.signatures import Signer
from api.keeping.snapshot import truncate_log
from api.keeping.status import write_private, write_status
from api.keeping.tombstones import Selection, Tombstone, put, stub_of
from api.security.secret import ServerSecret
from api.uploads.store import Uploads
from pipeline.errors import PipelineError

log = logging.getLogger(__name__)

_NOTE: Final = ".pending-"
_PATIENCE_S: Final = 60.0
_LOOK_AGAIN_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Selected:
    """What is to be erased.

    Attributes:
        by: how it was chosen.
        value: id of the job, or name of the owner or the subject.
        jobs: all that belong to it.
    """

    by: Selection
    value: str
    jobs: tuple[Job, ...]


class Eraser:
    """Erases for good.

    Args:
        holdings: what the service holds.
        secret: the server's.
        audit: the audit log.
        holds: the legal holds.
        uploads: resumable uploads that are no jobs yet.
        beside: a further folder for tombstones: beside the backups.
        now: the time.
        patience_s: how long jobs that run are given to stop.
    """

    def __init__(
        self,
        holdings: Holdings,
        secret: ServerSecret,
        audit: Audit,
        holds: Holds,
        uploads: Uploads,
        *,
        beside: Path,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._holdings, self._secret, self._audit = holdings, secret, audit
        self._holds, self._uploads, self._beside = holds, uploads, beside
        self._now, self._patience_s = now, patience_s

    def select(self, by: Selection, value: str) -> Selected:
        """What belongs to a job, an owner or a subject.

        Raises:
            NotFound: nothing does.
        """
        store = self._holdings.store
        if by == "job":
            job = store.get(value)
            jobs = [] if job is None else [job]
        elif by == "owner":
            jobs = list(every_job(store, JobFilter(owner=value)))
        else:
            jobs = list(every_job(store, JobFilter(subject=value)))
        known = (by == "owner" and is_owner(self._holdings.engine, value)) or (
            by == "subject" and waits_about(self._holdings.engine, value)
        )
        if not jobs and not known:
            raise NotFound(f"Nothing is known of that {by}.", "Check how it is written.")
        return Selected(by, value, tuple(jobs))

    def erase(self, selected: Selected, user: str) -> dict[str, Any]:
        """Erase everything of it, but for backups.

        Args:
            selected: from `select`.
            user: who wants it, for the audit log.

        Returns:
            The receipt, signed; it is kept in ``DATA_DIR/receipts`` too.

        Raises:
            LegalHold: something of it is held; then nothing was erased.
            Conflict: a job does not stop; then nothing was erased.
            DatabaseUnavailable: the database is busy, out of reach or damaged.
            DiskFull: no space left for the tombstones.
            OutputUnwritable: the operating system refuses.
        """
        for job in selected.jobs:
            self._holds.check(job)
        if selected.by == "subject":
            forget_subject(self._holdings.engine, selected.value)  # It is to become no job any more.
        self._stop(selected.jobs)
        at, receipt_id = self._now(), secrets.token_hex(8)
        tombstones = self._tombstones(selected, at)
        sizes = [size_of(self._holdings.folders, job.id) for job in selected.jobs]
        note = self._holdings.tombstones / f"{_NOTE}{receipt_id}.json"
        stones = [tombstone.model_dump(mode="json") for tombstone in tombstones]
        write_status(note, {"tombstones": stones, "user": user, "receipt": receipt_id})
        if selected.by == "owner":
            # By its name, which nothing knows any more once the rows are erased.
            for upload in self._uploads.of(selected.value):
                self._uploads.remove(selected.value, upload.id)
        last = self._apply(tombstones, user, receipt_id)
        note.unlink(missing_ok=True)
        receipt = Signer(self._secret).signed(
            {
                "id": receipt_id,
                "erased_at": at.isoformat(),
                "selected_by": selected.by,
                "selected": self._pseudonym(selected),
                "jobs": [job.id for job in selected.jobs],
                "bytes": sum(sizes),
                "audit": last,
            }
        )
        write_private(self.receipts / f"{receipt_id}.json", json.dumps(receipt, indent=1).encode() + b"\n")
        return receipt

    @property
    def receipts(self) -> Path:
        """Folder of the receipts."""
        return self._holdings.folders.data / "receipts"

    def finish(self) -> int:
        """Finish erasures whose process died; how many there were."""
        remove_strays(self._holdings.folders.data)
        count = 0
        for note in sorted(self._holdings.tombstones.glob(f"{_NOTE}*.json")):
            said = json.loads(note.read_bytes())
            tombstones = [Tombstone.model_validate(one) for one in said["tombstones"]]
            self._apply(tombstones, said["user"], said["receipt"])
            note.unlink(missing_ok=True)
            count += 1
        return count

    def _tombstones(self, selected: Selected, at: datetime) -> list[Tombstone]:
        folders = self._holdings.folders
        pseudonym = None
        made = []
        if selected.by == "owner":
            identity = owner_id(self._secret, selected.value)
            pseudonym = f"erased-{identity[-16:]}"
            made.append(
                Tombstone(kind="owner", id=identity, erased_at=at, selected_by="owner", pseudonym=pseudonym)
            )
        for job in selected.jobs:
            stub = stub_of(folders.result(job.id))
            made.append(
                Tombstone(
                    kind="job",
                    id=job.id,
                    erased_at=at,
                    selected_by=selected.by,
                    pseudonym=pseudonym,
                    stub=stub,
                )
            )
        return made

    def _apply(self, tombstones: Sequence[Tombstone], user: str, receipt_id: str) -> str:
        """Put tombstones and erase what they name; where the audit log then ends."""
        for tombstone in tombstones:
            put(self._holdings.tombstones, tombstone)
        try:
            for tombstone in tombstones:
                put(self._beside, tombstone)
        except PipelineError as exc:  # The disk of the backups may be away; the next backup has it in it.
            log.warning("no tombstone beside the backups: %s", exc.message, extra={"action": "no_tombstone"})
        last = ""
        for tombstone in tombstones:
            told = tell(self._audit, tombstone, user, receipt_id)
            last = told or last
        store, folders = self._holdings.store, self._holdings.folders
        for job_id in (one.id for one in tombstones if one.kind == "job"):
            if erase(store, folders, job_id) is None:  # It was begun before, and not finished.
                remove_all(folders, job_id)
                settle(store, folders, job_id)
        erase_rows(self._holdings.engine, tombstones, self._secret)
        truncate_log(self._holdings.engine)
        return last

    def _stop(self, jobs: Iterable[Job]) -> None:
        until = time.monotonic() + self._patience_s
        for job in jobs:
            now: Job | None = job if job.status.final else self._holdings.store.request_cancel(job.id)
            while now is not None and not now.status.final:
                if time.monotonic() > until:
                    raise Conflict(f"The job {job.id} does not stop.", "Try again when it has ended.")
                time.sleep(_LOOK_AGAIN_S)
                now = self._holdings.store.get(job.id)

    def _pseudonym(self, selected: Selected) -> str:
        if selected.by == "job":
            return selected.value
        if selected.by == "owner":
            return owner_id(self._secret, selected.value)
        return (
            "subject-"
            + hmac.digest(self._secret.key("erasure"), selected.value.encode(), hashlib.sha256).hex()[:32]
        )


def tell(audit: Audit, tombstone: Tombstone, user: str, receipt_id: str) -> str:
    """Record an erasure in the audit log: where the log ends then, as ``seq:hash``."""
    is_job = tombstone.kind == "job"
    entry = audit.record(
        ERASE if is_job else ERASE_OWNER,
        user=user,
        input=tombstone.selected_by,
        output=f"receipt {receipt_id}" if receipt_id else "a restore",
        status="done",
        job_id=tombstone.id if is_job else "",
    )
    return f"{entry.seq}:{entry.hash}"


def what_is_left(holdings: Holdings, job_ids: Iterable[str]) -> Iterator[str]:
    """What can still be found of jobs that were erased, in words."""
    folders = holdings.folders
    for job_id in job_ids:
        job = holdings.store.get(job_id)
        if job is not None and (job.status is not JobStatus.ERASED or job.filename or job.subject):
            yield f"the database knows the job {job_id}"
        with suppress(NotFound):
            for path in (folders.upload(job_id), folders.result(job_id), folders.peaks(job_id),
                         folders.listening(job_id), *folders.checkpoints_of(job_id)):  # fmt: skip
                if path.exists():
                    yield f"{path.parent.name}/{path.name} is there"
        for path in folders.separations.glob(f"*/*.{job_id}"):
            yield f"separations/{path.name} is there"
