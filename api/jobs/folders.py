"""Where things lie. No name in a path is a user's: jobs are found by their ids."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from api.errors import NotFound
from api.jobs.model import Job
from pipeline.scratch import disk_errors

_ID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders of the service.

    Attributes:
        data: database and checkpoints.
        uploads: ``<job_id>/input``: recordings as they came.
        outputs: ``<job_id>/manifest.json`` and ``<job_id>/stems/``: results, complete or not there at all.
        downloads: temporary files of transfers.
        logs: log files.
    """

    data: Path
    uploads: Path
    outputs: Path
    downloads: Path
    logs: Path

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
        with disk_errors("the data folder"):
            for folder in (self.data, self.uploads, self.outputs, self.downloads, self.logs, self.attempts,
                           self.checkpoints):  # fmt: skip
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def attempts(self) -> Path:
        """``<job_id>.<fence>/``: where workers work; on the disk of the results, which come from here."""
        return self.outputs / ".attempts"

    @property
    def checkpoints(self) -> Path:
        """``<job_id>.checkpoint``: what interrupted separations have made."""
        return self.data / "checkpoints"

    def peaks(self, job_id: str) -> Path:
        """The folder of a job's waveform data, which can be measured again at any time."""
        return self.data / "peaks" / checked(job_id)

    def input(self, job: Job) -> Path:
        """The recording of a job, whether or not it is still there."""
        return self.uploads / checked(job.id) / "input"

    def upload(self, job_id: str) -> Path:
        """The folder of a job's recording."""
        return self.uploads / checked(job_id)

    def result(self, job_id: str) -> Path:
        """The folder of a job's result."""
        return self.outputs / checked(job_id)

    def attempt(self, job_id: str, fence: int) -> Path:
        """The folder in which one attempt works."""
        return self.attempts / f"{checked(job_id)}.{fence}"

    def checkpoint(self, job_id: str) -> Path:
        """The file in which a job's separation leaves what it has made."""
        return self.checkpoints / f"{checked(job_id)}.checkpoint"


def checked(job_id: str) -> str:
    """A job id that is safe in a path.

    Raises:
        NotFound: it is none, so there is no such job.
    """
    if not _ID.fullmatch(job_id):
        raise NotFound("There is no such job.")
    return job_id
