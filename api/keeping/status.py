"""Small files that tell other programs when something was done last."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.scratch import disk_errors, sync_folder


def write_status(path: Path, said: Mapping[str, Any]) -> None:
    """Replace a JSON file, durably: who reads it sees the old one or the new one.

    Raises:
        DiskFull: no space left.
        OutputUnwritable: the operating system refuses.
    """
    write_durably(path, json.dumps(said, indent=1).encode() + b"\n")


def write_durably(path: Path, data: bytes) -> None:
    """Replace a file, durably.

    Raises:
        DiskFull: no space left.
        OutputUnwritable: the operating system refuses.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(f"the file {path.name!r}"):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with draft.open("wb") as file:
                os.chmod(draft, 0o600)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(path.parent)
