"""The results of jobs as they lie on disk: there, whole, or damaged since they were published."""

from __future__ import annotations

import hashlib
from pathlib import Path

from api.errors import ResultDamaged
from api.jobs import result_cache
from api.jobs.folders import Folders
from pipeline.errors import ManifestInvalid
from pipeline.manifest import Artifact, Manifest, read_manifest


def read_result(folders: Folders, job_id: str) -> Manifest:
    """Read the manifest of a job that succeeded.

    Raises:
        StorageUnavailable: the folder of the results is not there.
        ResultDamaged: the manifest is missing, or not as it was published.
    """
    path = folders.result(job_id) / "manifest.json"
    if folders.shared is not None:
        folders.shared.fetch_manifest(job_id, path)
        result_cache.used(folders, job_id)
    try:
        return read_manifest(path)
    except ManifestInvalid as exc:
        folders.check()
        raise _damaged(job_id, "manifest.json") from exc


def manifest_sum(folders: Folders, job_id: str) -> str:
    """What the audit log says of a result: the hash of its manifest, which lists the hashes of all else."""
    try:
        data = (folders.result(job_id) / "manifest.json").read_bytes()
    except OSError:
        return ""
    return f"manifest sha256 {hashlib.sha256(data).hexdigest()}"


def artifact_file(folders: Folders, job_id: str, artifact: Artifact) -> Path:
    """Where an artifact lies, brought to this machine if need be.

    Raises:
        StorageUnavailable: the folder of the results is not there.
        ResultDamaged: the file is missing, or of another size than when it was published.
    """
    path = folders.result(job_id) / artifact.path
    if folders.shared is not None:
        folders.shared.fetch_artifact(job_id, artifact, path)
    if not path.is_file() or path.stat().st_size != artifact.bytes:
        folders.check()
        raise _damaged(job_id, artifact.path)
    return path


def is_whole(folders: Folders, job_id: str) -> bool:
    """Whether the manifest and all files of a result are there; their bytes are not read.

    Raises:
        StorageUnavailable: the folder of the results is not there.
    """
    try:
        artifacts = read_result(folders, job_id).artifacts
        if folders.shared is not None:
            return all(folders.shared.has_artifact(job_id, artifact) for artifact in artifacts)
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
