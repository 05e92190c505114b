"""Recordings and results that several machines share: each has what it needs of them on its own disk.

In the storage lie ``uploads/<job_id>/input``, ``outputs/<job_id>/manifest.json`` and, below the hash of what
they hold, the artifacts: ``outputs/<job_id>/<sha256>/<path>``. The manifest comes last, and only if there is
none: it makes the result complete. So attempts of one job that know nothing of one another never overwrite
what the other's manifest names, and one of them counts.
"""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from typing import Final

from api.encryption.file_format import encrypted_size
from api.encryption.stored import Stored
from api.errors import ResultDamaged
from api.storage.base import SignedUrl, Storage
from pipeline.manifest import Artifact, Manifest

_HASH_CHARS: Final = 16
_BLOCK: Final = 1 << 20


class Shared:
    """What jobs have in a storage.

    Besides what stands there, every method raises StorageUnavailable as `api.storage.base.Storage` does.

    Args:
        storage: that all machines share.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def keep_input(self, job_id: str, path: Path) -> None:
        """Keep the recording of a job, before the job is accepted."""
        self.storage.put(_input(job_id), path)

    def fetch_input(self, job_id: str, target: Path) -> bool:
        """Bring the recording of a job here. False when it is gone."""
        return target.is_file() or self.storage.fetch(_input(job_id), target)

    def has_input(self, job_id: str) -> bool:
        """Whether the recording of a job is there."""
        return self.storage.size(_input(job_id)) is not None

    def publish(self, job_id: str, made: Path, manifest: Manifest) -> bool:
        """Keep the finished result of an attempt.

        Args:
            job_id: whose.
            made: its folder, of files as they are to be stored.
            manifest: its manifest.

        Returns:
            Whether it is the job's result now; False: another attempt was first.
        """
        for artifact in manifest.artifacts:
            self.storage.put(_artifact(job_id, artifact), made / artifact.path)
        return self.storage.put(_manifest(job_id), made / "manifest.json", if_absent=True)

    def has_result(self, job_id: str) -> bool:
        """Whether the job has a complete result."""
        return self.storage.size(_manifest(job_id)) is not None

    def has_artifact(self, job_id: str, artifact: Artifact, *, encrypted: bool = False) -> bool:
        """Whether an artifact is there and of the size that it was published with."""
        size = encrypted_size(artifact.bytes) if encrypted else artifact.bytes
        return self.storage.size(_artifact(job_id, artifact)) == size

    def fetch_manifest(self, job_id: str, target: Path) -> bool:
        """Bring a manifest here, unless it is. False when there is none."""
        return target.is_file() or self.storage.fetch(_manifest(job_id), target)

    def copy_artifact(self, job_id: str, artifact: Artifact, target: Path) -> bool:
        """Copy an artifact as it is stored, whatever it holds. False when it is gone."""
        return self.storage.fetch(_artifact(job_id, artifact), target)

    def fetch_artifact(self, job_id: str, artifact: Artifact, target: Stored) -> bool:
        """Bring an artifact here, unless it is. False when it is gone.

        Raises:
            ResultDamaged: it does not hold what was published.
        """
        if target.path.is_file() and target.size() == artifact.bytes:
            return True
        beside = target.path.with_name(f".tmp-{uuid.uuid4()}")
        try:
            if not self.copy_artifact(job_id, artifact, beside):
                return False
            if _sha256(target.at(beside)) != artifact.sha256:
                raise ResultDamaged(
                    f"The result of job {job_id} is damaged: {artifact.path} is not as it was published.",
                    "Submit the recording again, or restore the result from a backup.",
                )
            beside.replace(target.path)
        finally:
            beside.unlink(missing_ok=True)
        return True

    def artifact_url(
        self, job_id: str, artifact: Artifact, valid_s: int, filename: str, media_type: str
    ) -> SignedUrl | None:
        """An address from which a browser may fetch an artifact; None where the storage has no such thing."""
        return self.storage.download_url(_artifact(job_id, artifact), valid_s, filename, media_type)

    def forget_audio(self, job_id: str) -> None:
        """Remove the recording of a job, and all of its result but the manifest."""
        self.storage.remove(f"uploads/{job_id}/")
        for name in self.storage.below(_result(job_id)):
            if name != "manifest.json":
                self.storage.remove(f"{_result(job_id)}{name}/")

    def names(self, job_id: str) -> set[str]:
        """What stands below a job's result: ``manifest.json``, and how artifacts' hashes begin."""
        return set(self.storage.below(_result(job_id)))

    def has_audio(self, job_id: str) -> bool:
        """Whether anything of a result is there besides its manifest."""
        return bool(self.names(job_id) - {"manifest.json"})

    def forget_result(self, job_id: str) -> None:
        """Remove the result of a job."""
        # The manifest first: what is half gone must not look complete.
        self.storage.remove(_manifest(job_id))
        self.storage.remove(_result(job_id))

    def forget(self, job_id: str) -> None:
        """Remove the recording and the result of a job."""
        self.storage.remove(f"uploads/{job_id}/")
        self.forget_result(job_id)
        self.forget_stretches(job_id)

    def keep_stretch(self, job_id: str, identity: str, begin: int, path: Path) -> None:
        """Keep a stretch of a job's separation: see `pipeline.stretches`."""
        self.storage.put(_stretch(job_id, identity, begin), path)

    def fetch_stretch(self, job_id: str, identity: str, begin: int, target: Path) -> bool:
        """Bring a stretch here. False when there is none."""
        return self.storage.fetch(_stretch(job_id, identity, begin), target)

    def forget_stretches(self, job_id: str) -> None:
        """Remove the stretches of a job's separation."""
        self.storage.remove(_stretches(job_id))

    def divided(self) -> list[str]:
        """Ids of the jobs of which stretches are there."""
        return sorted(self.storage.below("stretches/"))

    def jobs(self) -> set[str]:
        """Ids of all jobs of which anything is there."""
        return {name for prefix in ("uploads/", "outputs/") for name in self.storage.below(prefix)}


def name_of(artifact: Artifact) -> str:
    """Under which of `Shared.names` an artifact stands."""
    return artifact.sha256[:_HASH_CHARS]


def _input(job_id: str) -> str:
    return f"uploads/{job_id}/input"


def _result(job_id: str) -> str:
    return f"outputs/{job_id}/"


def _manifest(job_id: str) -> str:
    return f"outputs/{job_id}/manifest.json"


def _stretches(job_id: str) -> str:
    return f"stretches/{job_id}/"


def _stretch(job_id: str, identity: str, begin: int) -> str:
    return f"{_stretches(job_id)}{identity[:_HASH_CHARS]}-{begin}"


def _artifact(job_id: str, artifact: Artifact) -> str:
    return f"outputs/{job_id}/{name_of(artifact)}/{artifact.path}"


def _sha256(stored: Stored) -> str:
    digest = hashlib.sha256()
    with stored.open() as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
