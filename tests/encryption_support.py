"""Folders whose jobs are encrypted, for tests: with master keys of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Engine

from api.encryption.data_keys import DataKeys
from api.encryption.master_keys import LocalKey, MasterKeys
from api.jobs.folders import Folders

OLD, NEW = LocalKey("old", b"\1" * 32), LocalKey("new", b"\2" * 32)


def encrypting(folders: Folders, engine: Engine, masters: Sequence[LocalKey] = (OLD,)) -> Folders:
    """The same folders, encrypted."""
    return replace(folders, keys=DataKeys(engine, MasterKeys(masters)))


def places(folder: Path, *needles: bytes) -> list[str]:
    """Files below a folder with one of the texts in their bytes or their names: a search over a disk."""
    return [
        f"{path}: {needle!r}"
        for path in folder.rglob("*")
        if path.is_file()
        for data in [path.read_bytes().hex()]
        for needle in needles
        if needle.hex() in data or needle in str(path).encode()
    ]
