"""Which of an owner's recordings sound like one of them, or are the same one again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from api.errors import ResultDamaged
from api.jobs.folders import Folders
from api.jobs.model import Job, JobStatus
from api.jobs.results import read_result
from api.jobs.store import JobFilter, JobStore, every_job
from pipeline.annotations import Sound
from pipeline.likeness import SAME, agreement, similarity

MOST_COMPARED: Final = 2000
"""Jobs of an owner that are looked at, the newest: their sounds are 10 MB in memory."""


@dataclass(frozen=True, slots=True)
class Like:
    """A job whose recording sounds like another's.

    Attributes:
        job: the job.
        similarity: 0..1, see `pipeline.likeness.similarity`.
        same: whether it is the same recording, however it was encoded.
    """

    job: Job
    similarity: float
    same: bool


class Sounds:
    """Compares finished jobs. What a manifest says is read once: it never changes.

    Args:
        store: knows the jobs.
        folders: where their manifests lie.
    """

    def __init__(self, store: JobStore, folders: Folders) -> None:
        self._store = store
        self._folders = folders
        self._known: OrderedDict[str, Sound | None] = OrderedDict()
        self._lock = threading.Lock()

    def like(self, job: Job, limit: int) -> tuple[Sequence[Like], int]:
        """Find the jobs of the same owner whose recordings are most like a job's.

        Args:
            job: a job that has succeeded, its audio expired or not.
            limit: jobs to give.

        Returns:
            The same recording first, then by similarity; and how many were compared. A job that ran without
            the estimator ``sound`` is like none.

        Raises:
            StorageUnavailable: the folder of the results is not there.
        """
        heard = self._sound(job.id)
        if heard is None or not heard.features:
            return [], 0
        kept = (JobStatus.SUCCEEDED, JobStatus.EXPIRED)
        others = every_job(self._store, JobFilter(owner=job.owner, statuses=kept))
        found: list[Like] = []
        for other in islice(others, MOST_COMPARED):
            sound = self._sound(other.id) if other.id != job.id else None
            if sound is not None and sound.features:
                same = agreement(heard, sound) >= SAME
                found.append(Like(other, similarity(heard, sound), same))
        found.sort(key=lambda like: (not like.same, -like.similarity))
        return found[:limit], len(found)

    def _sound(self, job_id: str) -> Sound | None:
        with self._lock:
            if job_id in self._known:
                self._known.move_to_end(job_id)
                return self._known[job_id]
        try:
            found = read_result(self._folders, job_id).analysis.sound
        except ResultDamaged:  # One that cannot be read is like none.
            found = None
        sound = found if isinstance(found, Sound) else None
        with self._lock:
            self._known[job_id] = sound
            if len(self._known) > 2 * MOST_COMPARED:
                self._known.popitem(last=False)
        return sound
