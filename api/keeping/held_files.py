"""Files of jobs as they are held for good: in folders of this machine, or in a storage that machines share.

With a storage, what lies in the folders are copies, which may be missing; only what it holds counts. A file
of it is brought here while it is looked at, one at a time.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from api.encryption.stored import Stored
from api.errors import Gone, NotFound
from api.jobs.folders import Folders, checked
from pipeline.errors import ManifestInvalid
from pipeline.manifest import Artifact, parse_manifest

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HeldFiles:
    """Recordings and results.

    Methods that bring something raise StorageUnavailable when the storage is out of reach.

    Attributes:
        folders: where they lie.
        scratch: for what is brought from a storage.
    """

    folders: Folders
    scratch: Path

    def results(self) -> list[str]:
        """Ids of jobs that may have a result, in order."""
        return self._ids(self.folders.outputs)

    def recordings(self) -> list[str]:
        """Ids of jobs that may have a recording, in order."""
        return self._ids(self.folders.uploads)

    @contextmanager
    def recording(self, job_id: str) -> Iterator[Stored]:
        """The recording of a job, there or not."""
        shared = self.folders.shared
        fetch = None if shared is None else lambda to: shared.fetch_input(job_id, to)
        with self._brought(self.folders.stored_input(job_id), fetch) as found:
            yield found

    @contextmanager
    def manifest(self, job_id: str) -> Iterator[Stored]:
        """The manifest of a job, there or not."""
        shared = self.folders.shared
        fetch = None if shared is None else lambda to: shared.fetch_manifest(job_id, to)
        with self._brought(self.folders.stored_result(job_id) / "manifest.json", fetch) as found:
            yield found

    @contextmanager
    def artifact(self, job_id: str, artifact: Artifact) -> Iterator[Stored]:
        """An artifact, there or not, and as it is: nobody has compared its sum."""
        shared = self.folders.shared
        fetch = None if shared is None else lambda to: shared.copy_artifact(job_id, artifact, to)
        with self._brought(self.folders.stored_result(job_id) / artifact.path, fetch) as found:
            yield found

    def result(self, job_id: str, *, manifest_alone: bool = False) -> Iterator[Stored]:
        """The files of a result, its manifest first; each is here until the next is asked for.

        Of what lies in a storage only that is given which the manifest names. One that cannot be read is told
        in the log, and `api.keeping.verify` finds it.
        """
        with self.manifest(job_id) as manifest:
            if not manifest.path.is_file():
                return
            yield manifest
            if manifest_alone:
                return
            if self.folders.shared is None:
                folder = self.folders.stored_result(job_id)
                for path in _files(folder.path):
                    yield folder / path.relative_to(folder.path).as_posix()
                return
            try:
                artifacts = parse_manifest(manifest.read()).artifacts
            except (ManifestInvalid, Gone) as exc:
                said = {"action": "manifest_unreadable", "job_id": job_id}
                log.warning("a manifest cannot be read: %s", type(exc).__name__, extra=said)
                return
        for artifact in artifacts:
            with self.artifact(job_id, artifact) as file:
                yield file

    @contextmanager
    def _brought(self, stored: Stored, fetch: Callable[[Path], bool] | None) -> Iterator[Stored]:
        if fetch is None:
            yield stored
            return
        here = self.scratch / str(uuid.uuid4())
        try:
            fetch(here)
            yield stored.at(here)
        finally:
            here.unlink(missing_ok=True)

    def _ids(self, root: Path) -> list[str]:
        if self.folders.shared is not None:
            names = self.folders.shared.jobs()
        else:
            names = {path.name for path in root.iterdir()}
        return sorted(name for name in names if _is_id(name))


def _files(folder: Path) -> list[Path]:
    """All files of a result but its manifest; none where it goes just now."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(path for path in found if path.name != "manifest.json")


def _is_id(name: str) -> bool:
    try:
        checked(name)
    except NotFound:
        return False
    return True
