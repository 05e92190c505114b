from __future__ import annotations

import hashlib
import re
from pathlib import Path

_VENDOR = Path(__file__).parents[3] / "ui" / "vendor"
_ROW = re.compile(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", re.MULTILINE)


def test_the_vendored_files_are_those_of_their_packages() -> None:
    listed = dict(_ROW.findall((_VENDOR / "VENDORED.md").read_text(encoding="utf-8")))
    there = {
        path.relative_to(_VENDOR).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in _VENDOR.rglob("*")
        if path.suffix in {".js", ".mjs"}
    }
    assert there == listed


def test_every_vendored_package_brings_its_licence() -> None:
    for folder in _VENDOR.iterdir():
        if folder.is_dir():
            assert (folder / "LICENSE").read_text(encoding="utf-8").strip()
