"""Where things lie. No name in a path is a user's: jobs are found by their ids."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from api.encryption.data_keys import DataKeys
from api.encryption.stored import Stored
from api.errors import NotFound, StorageUnavailable
from api.jobs.model import Job
from api.jobs.shared import Shared
from pipeline.scratch import disk_errors

_INCOMING: Final = ".incoming-"
_ID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders of the service.

    Attributes:
        data: database, checkpoints, kept separations and what can be made again at any time.
        uploads: ``<job_id>/input``: recordings as they came; and `resumable`.
        outputs: ``<job_id>/manifest.json`` and ``<job_id>/stems/``: results, complete or not there at all.
        downloads: temporary files of transfers.
        logs: log files.
        shared: recordings and results that other machines share; None: there is this machine alone. With it,
            what lies in `uploads` and `outputs` is a copy that may be missing.
        keys: of jobs, with which what lies there is encrypted; None: nothing is.
    """

    data: Path
    uploads: Path
    outputs: Path
    downloads: Path
    logs: Path
    shared: Shared | None = None
    keys: DataKeys | None = None

    @classmethod
    def below(cls, data: Path) -> Folders:
        """All folders at their default places in one."""
        return cls(data, data / "uploads", data / "outputs", data / "downloads", data / "logs")

    def make(self) -> None:
        """Create what is missing, for this user alone: recordings are private.

        Raises:
            OutputUnwritable: the operating system refuses.
            DiskFull: no inodes left.
        """
        for folder in (self.data, self.uploads, self.outputs, self.downloads, self.logs, self.attempts,
                       self.checkpoints, self.separations, self.resumable):  # fmt: skip
            with disk_errors(f"the folder {str(folder)!r}"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def resumable(self) -> Path:
        """Uploads that are no jobs yet, on the disk of the recordings that they become: see `api.uploads`."""
        return self.uploads / ".resumable"

    def check(self) -> None:
        """Look whether the folders are there and may be written, as far as jobs need them.

        `attempts` is made at the start of the service and never later: where it is missing, the disk of the
        results is not mounted, and nothing must be written in its place.

        Raises:
            StorageUnavailable: one is not.
        """
        for folder in (self.data, self.uploads, self.outputs, self.attempts):
            if not os.access(folder, os.W_OK | os.X_OK):
                reason = "cannot be written" if folder.is_dir() else "is missing"
                raise StorageUnavailable(
                    f"The folder {folder.name!r} of the service {reason}.",
                    "Check that its disk is mounted, and the rights of the folder.",
                    retry_after_s=60,
                )

    @property
    def attempts(self) -> Path:
        """``<job_id>.<fence>/``: where workers work; on the disk of the results, which come from here."""
        return self.outputs / ".attempts"

    @property
    def checkpoints(self) -> Path:
        """``<job_id>.checkpoint``, ``<job_id>.<part>.checkpoint``: what separations under way have made."""
        return self.data / "checkpoints"

    @property
    def separations(self) -> Path:
        """Separations of finished jobs: see `api.jobs.separations`. On the disk of the checkpoints."""
        return self.data / "separations"

    def separations_of(self, owner: str) -> Path:
        """The folder of one owner's separations; by a hash, for an owner's name may be anything."""
        return self.separations / hashlib.sha256(owner.encode()).hexdigest()[:32]

    @property
    def peaks_root(self) -> Path:
        """``<job_id>/``: waveform data and spectrograms, which can be measured again at any time."""
        return self.data / "peaks"

    def peaks(self, job_id: str) -> Path:
        """The folder of a job's waveform data and spectrograms."""
        return self.peaks_root / checked(job_id)

    def stored_peaks(self, job_id: str) -> Stored:
        """Files in that folder."""
        return Stored(self.peaks(job_id), f"peaks/{job_id}", job_id, self.keys)

    @property
    def listening_root(self) -> Path:
        """``<job_id>/``: what was decoded to be listened to, which can be decoded again at any time."""
        return self.data / "listening"

    def listening(self, job_id: str) -> Path:
        """The folder of what was decoded of a job: see `api.jobs.parts`."""
        return self.listening_root / checked(job_id)

    def stored_listening(self, job_id: str) -> Stored:
        """Files in that folder."""
        return Stored(self.listening(job_id), f"listening/{job_id}", job_id, self.keys)

    def input(self, job: Job) -> Path:
        """The recording of a job, whether or not it is still there."""
        return self.uploads / checked(job.id) / "input"

    def has_input(self, job: Job) -> bool:
        """Whether the recording of a job is there, here or where all machines have it."""
        here = self.input(job).is_file()
        return here or (self.shared is not None and self.shared.has_input(checked(job.id)))

    def stored_input(self, job_id: str) -> Stored:
        """The recording of a job as it is stored, whether or not it is there."""
        return Stored(self.upload(job_id) / "input", f"uploads/{job_id}/input", job_id, self.keys)

    def fetched_input(self, job: Job) -> Stored:
        """The recording of a job, brought here if need be, whether or not it is still there."""
        stored = self.stored_input(job.id)
        if self.shared is not None:
            self.shared.fetch_input(job.id, stored.path)
        return stored

    def upload(self, job_id: str) -> Path:
        """The folder of a job's recording."""
        return self.uploads / checked(job_id)

    def result(self, job_id: str) -> Path:
        """The folder of a job's result."""
        return self.outputs / checked(job_id)

    def stored_result(self, job_id: str) -> Stored:
        """Files in that folder."""
        return Stored(self.result(job_id), f"outputs/{job_id}", job_id, self.keys)

    def attempt(self, job_id: str, fence: int) -> Path:
        """The folder in which one attempt works."""
        return self.attempts / f"{checked(job_id)}.{fence}"

    def checkpoint(self, job_id: str) -> Path:
        """The file in which a job's separation leaves what it has made."""
        return self.checkpoints / f"{checked(job_id)}.checkpoint"

    def checkpoints_of(self, job_id: str) -> list[Path]:
        """The checkpoints that a job has: one, or one for each independent part of its model."""
        whole = self.checkpoint(job_id)
        return [path for path in (whole, *self.checkpoints.glob(f"{job_id}.*.checkpoint")) if path.exists()]


def incoming(uploads: Path) -> Path:
    """A name for the folder of a request, in which a recording lies before it is a job's."""
    return uploads / f"{_INCOMING}{uuid.uuid4()}"


def is_incoming(path: Path) -> bool:
    """Whether a path is a folder of `incoming`."""
    return path.name.startswith(_INCOMING) and path.is_dir()


def checked(job_id: str) -> str:
    """A job id that is safe in a path.

    Raises:
        NotFound: it is none, so there is no such job.
    """
    if not _ID.fullmatch(job_id):
        raise NotFound("There is no such job.")
    return job_id
