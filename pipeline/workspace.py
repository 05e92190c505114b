"""Where a job works, and how its result becomes visible: all at once, or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from pipeline.errors import OutputUnwritable
from pipeline.manifest import Manifest
from pipeline.scratch import disk_errors, sync_folder

_PREFIX, _SUFFIX = ".", ".partial"


class Workspace:
    """A hidden folder beside the results that turns into the job's folder when the job is done.

    The folder is locked (flock) as long as the process lives: however a process ended, the next job in
    the same place finds its folder unlocked and removes it.

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
            self._lock = self._claim()
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

    def _claim(self) -> int:
        while True:
            self.folder.mkdir(parents=True)
            lock = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Between mkdir and flock another job's sweep may have taken the folder for a dead one's.
                if os.path.samestat(os.stat(self.folder), os.fstat(lock)):
                    return lock
            except (BlockingIOError, FileNotFoundError):
                pass
            os.close(lock)

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Nothing is left behind; after `publish` there is nothing to remove.
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._made_out_dir:
            with suppress(OSError):  # Not empty: it holds results.
                self.target.parent.rmdir()
        os.close(self._lock)


def sweep(out_dir: Path) -> None:
    """Remove the work folders of processes that are gone."""
    for folder in out_dir.glob(f"{_PREFIX}*{_SUFFIX}"):
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass  # Its job is alive.
        finally:
            os.close(lock)
