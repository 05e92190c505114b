"""Small files that tell other programs when something was done last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.scratch import disk_errors, write_durably


def write_status(path: Path, said: Mapping[str, Any]) -> None:
    """Replace a JSON file, durably: who reads it sees the old one or the new one.

    Raises:
        DiskFull: no space left.
        OutputUnwritable: the operating system refuses.
    """
    write_private(path, json.dumps(said, indent=1).encode() + b"\n")


def write_private(path: Path, data: bytes) -> None:
    """Replace a file, durably, that its owner alone may read; its folder is made where there is none.

    Raises:
        DiskFull: no space left.
        OutputUnwritable: the operating system refuses.
    """
    with disk_errors(f"the file {path.name!r}"):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(path, data, private=True)
