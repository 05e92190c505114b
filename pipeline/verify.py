"""Verify a finished job: is everything that its manifest lists there, and unchanged?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pipeline.manifest import read_manifest


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one artifact.

    Attributes:
        path: relative to the job's folder.
        problem: ``missing``, ``changed``, or ``outside`` for a path that leaves the folder.
    """

    path: str
    problem: str


def verify_job(folder: Path) -> list[Finding]:
    """Recompute every checksum of a manifest.

    Args:
        folder: the job's folder.

    Returns:
        What is wrong; empty when all is well.

    Raises:
        ManifestInvalid: there is no manifest that can be read.
    """
    manifest = read_manifest(folder)
    findings = []
    for artifact in manifest.artifacts:
        path = folder / artifact.path
        if not path.resolve().is_relative_to(folder.resolve()):
            findings.append(Finding(artifact.path, "outside"))
        elif not path.is_file():
            findings.append(Finding(artifact.path, "missing"))
        else:
            with path.open("rb") as file:
                unchanged = hashlib.file_digest(file, "sha256").hexdigest() == artifact.sha256
            if not unchanged or path.stat().st_size != artifact.bytes:
                findings.append(Finding(artifact.path, "changed"))
    return findings


def find_jobs(folder: Path) -> list[Path]:
    """Job folders at or directly below a folder, in order of their names."""
    if (folder / "manifest.json").exists():
        return [folder]
    # A hidden folder is a job at work, or one that died: neither is a result.
    return sorted(path.parent for path in folder.glob("[!.]*/manifest.json"))
