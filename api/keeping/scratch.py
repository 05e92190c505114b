"""Folders for what is worked on: gone with their process, and never mistaken for something else."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.locked_folder import LockedFolder, remove_unlocked
from pipeline.scratch import disk_errors

_PREFIX = ".keeping-"


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A folder that is removed at the end; those of processes that were killed are removed now.

    Raises:
        DiskFull: no space or inodes left.
        OutputUnwritable: the operating system refuses.
    """
    remove_strays(parent)
    with disk_errors("a temporary folder"):
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = LockedFolder(parent / f"{_PREFIX}{uuid.uuid4()}", 0o700)
    with held:
        yield held.path


def remove_strays(parent: Path) -> int:
    """Remove the folders of processes that were killed; how many there were."""
    with disk_errors("a temporary folder"):
        return sum(remove_unlocked(path) for path in parent.glob(f"{_PREFIX}*"))
