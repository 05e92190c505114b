"""The results of jobs as they lie on disk: there, whole, or damaged since they were published."""

from __future__ import annotations

import hashlib

from api.encryption.stored import Stored
from api.errors import Gone, ResultDamaged
from api.jobs import result_cache
from api.jobs.folders import Folders
from pipeline.errors import ManifestInvalid
from pipeline.manifest import Artifact, Manifest, parse_manifest


def read_result(folders: Folders, job_id: str) -> Manifest:
    """Read the manifest of a job that succeeded.

    Raises:
        StorageUnavailable: the folder of the results is not there.
        ResultDamaged: the manifest is missing, or not as it was published.
        DataKeyGone: it is encrypted, and its key was destroyed.
    """
    stored = manifest_file(folders, job_id)
    if folders.shared is not None:
        folders.shared.fetch_manifest(job_id, stored.path)
        result_cache.used(folders, job_id)
    try:
        return parse_manifest(stored.read(), stored.path.name)
    except (ManifestInvalid, OSError) as exc:
        folders.check()
        raise _damaged(job_id, "manifest.json") from exc


def manifest_file(folders: Folders, job_id: str) -> Stored:
    """Where a manifest lies."""
    return folders.stored_result(job_id) / "manifest.json"


def manifest_sum(folders: Folders, job_id: str) -> str:
    """What the audit log says of a result: the hash of its manifest, which lists the hashes of all else."""
    try:
        data = manifest_file(folders, job_id).read()
    except (OSError, Gone):
        return ""
    return f"manifest sha256 {hashlib.sha256(data).hexdigest()}"


def artifact_file(folders: Folders, job_id: str, artifact: Artifact) -> Stored:
    """Where an artifact lies, brought to this machine if need be.

    Raises:
        StorageUnavailable: the folder of the results is not there.
        ResultDamaged: the file is missing, or of another size than when it was published.
    """
    stored = folders.stored_result(job_id) / artifact.path
    if folders.shared is not None:
        folders.shared.fetch_artifact(job_id, artifact, stored)
    if not stored.path.is_file() or stored.size() != artifact.bytes:
        folders.check()
        raise _damaged(job_id, artifact.path)
    return stored


def is_whole(folders: Folders, job_id: str) -> bool:
    """Whether the manifest and all files of a result are there; their bytes are not read.

    Raises:
        StorageUnavailable: the folder of the results is not there.
    """
    try:
        artifacts = read_result(folders, job_id).artifacts
        if folders.shared is not None:
            encrypted = folders.stored_result(job_id).is_encrypted
            return all(folders.shared.has_artifact(job_id, one, encrypted=encrypted) for one in artifacts)
        for artifact in artifacts:
            artifact_file(folders, job_id, artifact)
    except ResultDamaged:
        return False
    return True


def _damaged(job_id: str, name: str) -> ResultDamaged:
    return ResultDamaged(
        f"The result of job {job_id} is damaged: {name} is missing or not as it was published.",
        "Submit the recording again, or restore the result from a backup.",
    )
