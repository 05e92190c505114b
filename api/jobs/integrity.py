"""Notices a damaged database: now and then every page of an SQLite file is read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import Engine

from api.transactions import check_pages
from pipeline.errors import PipelineError

EVERY_S: Final = 600.0
"""From one reading of all pages to the next."""


class Integrity:
    """Whether the database file is whole, as of the last time that it was read.

    Reading a large file takes seconds. Only the first time the caller waits for it; later a thread does it,
    and the caller is told what was found before.

    Args:
        engine: of the database.
        clock: monotonic seconds; nothing is decided by it but how soon damage is noticed.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine, self._clock = engine, clock
        self._lock = threading.Lock()
        self._read_at: float | None = None
        self._reader: threading.Thread | None = None
        self._failure: PipelineError | None = None

    def check(self) -> None:
        """Fail when the file is damaged.

        Raises:
            DatabaseUnavailable: it is, or it could not be read.
            DiskFull: no space left beside it.
            OutputUnwritable: its folder cannot be used.
        """
        with self._lock:
            now = self._clock()
            if self._read_at is None or self._failure is not None:
                self._read()  # What failed may have been healed.
            elif now - self._read_at >= EVERY_S and (self._reader is None or not self._reader.is_alive()):
                self._reader = threading.Thread(target=self._read, name="integrity", daemon=True)
                self._reader.start()
            if self._failure is not None:
                raise self._failure

    def _read(self) -> None:
        try:
            check_pages(self._engine)
            self._failure = None
        except PipelineError as exc:
            self._failure = exc
        self._read_at = self._clock()
