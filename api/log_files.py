"""Log files: turned over when they are full or old, and deleted when they were kept long enough."""

from __future__ import annotations

import json
import logging
import logging.handlers
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

_BYTES: Final = 20 << 20
_KEPT: Final = 5
_MONTH_S: Final = 30 * 86400.0


class LogFile(logging.handlers.RotatingFileHandler):
    """A log file and five before it. None holds more than a month: all go back half a year.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=_BYTES, backupCount=_KEPT, encoding="utf-8", delay=True)
        self._began_s = _first_line_s(path)

    def shouldRollover(self, record: logging.LogRecord) -> bool:
        """Whether the next line begins a new file."""
        if self._began_s is None:
            self._began_s = record.created
        old = record.created - self._began_s > _MONTH_S
        return bool(old or super().shouldRollover(record))

    def doRollover(self) -> None:
        """Begin a new file."""
        super().doRollover()
        self._began_s = None


def remove_old_logs(folder: Path, before: datetime) -> int:
    """Remove log files that nothing was written to since a time.

    Args:
        folder: of the logs.
        before: that time.

    Returns:
        How many.
    """
    count = 0
    for path in sorted(folder.glob("*.log*")) if folder.is_dir() else ():
        with suppress(FileNotFoundError):
            if path.is_file() and path.stat().st_mtime < before.timestamp():
                path.unlink()
                count += 1
    if count:
        log.info("%d old log files are gone", count, extra={"action": "logs_removed"})
    return count


def _first_line_s(path: Path) -> float | None:
    """When the first line of a file was written, in seconds since 1970; None where there is none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            line = file.readline()
    except OSError:
        return None
    try:
        return datetime.fromisoformat(json.loads(line)["at"]).timestamp()
    except (ValueError, KeyError, TypeError):
        return time.time() if line else None
