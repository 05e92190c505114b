"""What the service holds, as those see it who look after it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from api.jobs.folders import Folders
from api.jobs.store import JobStore


@dataclass(frozen=True, slots=True)
class Holdings:
    """Database and files of a service.

    Attributes:
        engine: of the database.
        store: the jobs in it.
        folders: where files lie.
    """

    engine: Engine
    store: JobStore
    folders: Folders

    @property
    def secret(self) -> Path:
        """File of the server's secret; not there where it is a setting."""
        return self.folders.data / "secret"

    @property
    def tombstones(self) -> Path:
        """Folder of what was erased: see `api.keeping.tombstones`."""
        return self.folders.data / "erased"
