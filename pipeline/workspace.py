"""Where a job works, and how its result becomes visible: all at once, or not at all."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from pipeline.errors import OutputUnwritable
from pipeline.locked_folder import LockedFolder, remove_unlocked
from pipeline.manifest import Manifest
from pipeline.scratch import disk_errors, sync_folder

_PREFIX, _SUFFIX = ".", ".partial"


class Workspace:
    """A hidden folder beside the results that turns into the job's folder when the job is done.

    The folder is locked as long as the process lives: however a process ended, the next job in the same place
    finds its folder unlocked and removes it.

    Args:
        out_dir: where job folders are made; created if missing.
        job_id: name of the job's folder.

    Raises:
        OutputUnwritable: the folder cannot be made, or the job has a result already.
        DiskFull: no space or inodes left.
    """

    def __init__(self, out_dir: Path, job_id: str) -> None:
        self.target = out_dir / job_id
        self.folder = out_dir / f"{_PREFIX}{job_id}{_SUFFIX}"
        with disk_errors("the output folder"):
            self._made_out_dir = not out_dir.exists()
            out_dir.mkdir(parents=True, exist_ok=True)
            sweep(out_dir)
            if self.target.exists():
                raise OutputUnwritable(f"There is a result for job {job_id} already.", "Use another job id.")
            self._held = LockedFolder(self.folder)
            self.scratch = self.folder / "scratch"
            self.stems = self.folder / "stems"
            self.scratch.mkdir()
            self.stems.mkdir()

    def publish(self, manifest: Manifest) -> None:
        """Write the manifest and make the job's folder appear, complete.

        Raises:
            DiskFull: no space left.
            OutputUnwritable: the operating system refuses.
        """
        with disk_errors("the result"):
            shutil.rmtree(self.scratch)
            temporary = self.folder / "manifest.json.tmp"
            with temporary.open("w", encoding="utf-8") as file:
                file.write(manifest.to_json())
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(self.folder / "manifest.json")
            sync_folder(self.stems)
            sync_folder(self.folder)
            self.folder.rename(self.target)
            sync_folder(self.target.parent)

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Nothing is left behind; after `publish` there is nothing to remove.
        self._held.close()
        if self._made_out_dir:
            with suppress(OSError):  # Not empty: it holds results.
                self.target.parent.rmdir()


def sweep(out_dir: Path) -> None:
    """Remove the work folders of processes that are gone."""
    for folder in out_dir.glob(f"{_PREFIX}*{_SUFFIX}"):
        with suppress(OSError):
            remove_unlocked(folder)
