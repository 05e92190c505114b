"""Tombstones: what was erased, kept outside the database, so that no backup brings it back.

The tombstone of a job is what is left of its manifest: nothing in it says whose recording it was, or of what.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from api.encryption.stored import Stored
from api.errors import Gone
from api.keeping.status import write_private
from pipeline.errors import ManifestInvalid
from pipeline.manifest import parse_manifest

Selection = Literal["job", "owner", "subject"]


class Stub(BaseModel):
    """A manifest without what is personal: when, with what, and the sum that proves which it was."""

    model_config = ConfigDict(frozen=True)

    schema_version: str
    manifest_sha256: str
    created_at: datetime
    finished_at: datetime
    model: str
    software: dict[str, str]


class Tombstone(BaseModel):
    """Something that was erased."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["job", "owner"]
    id: str
    """Of the job; of an owner, an HMAC of the name."""
    erased_at: datetime
    selected_by: Selection
    pseudonym: str | None = None
    """What the owner's name has become in what is left; None: it stayed."""
    stub: Stub | None = None


def stub_of(folder: Stored) -> Stub | None:
    """What stays of the manifest in a job's folder; None where there is none."""
    try:
        data = (folder / "manifest.json").read()
        manifest = parse_manifest(data)
    except (ManifestInvalid, OSError, Gone):
        return None
    return Stub(
        schema_version=manifest.schema_version,
        manifest_sha256=hashlib.sha256(data).hexdigest(),
        created_at=manifest.created_at,
        finished_at=manifest.finished_at,
        model=manifest.separation.model,
        software=manifest.software,
    )


def put(folder: Path, tombstone: Tombstone) -> None:
    """Write a tombstone, durably. One that stands there keeps its stub.

    Raises:
        DiskFull: no space left.
        OutputUnwritable: the operating system refuses.
    """
    path = folder / f"{tombstone.id}.json"
    before = _read(path)
    if before is not None and before.stub is not None and tombstone.stub is None:
        tombstone = tombstone.model_copy(update={"stub": before.stub})
    write_private(path, tombstone.model_dump_json(indent=1).encode() + b"\n")


def standing(folders: Iterable[Path]) -> dict[str, Tombstone]:
    """All tombstones in some folders, by their ids."""
    found: dict[str, Tombstone] = {}
    for folder in folders:
        for path in sorted(folder.glob("[!.]*.json")):
            tombstone = _read(path)
            if tombstone is not None:
                found.setdefault(tombstone.id, tombstone)
    return found


def _read(path: Path) -> Tombstone | None:
    try:
        return Tombstone.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
