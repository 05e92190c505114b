from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from pipeline.software import VERSION

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CUDA = re.compile(r"nvidia|cuda|triton")


def pins(name: str) -> dict[str, Version]:
    """A lock file: canonical name -> version. Every line that is no comment must be an exact pin."""
    found: dict[str, Version] = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if line and not line.lstrip().startswith("#"):
            match = re.fullmatch(r"([a-z0-9-]+)==([0-9a-z.]+)", line)
            assert match, f"{name}: {line}"
            found[canonicalize_name(match[1])] = Version(match[2])
    return found


RUNTIME = pins("requirements.txt")
DEV = pins("requirements-dev.txt")
EVERYTHING = DEV | RUNTIME


def test_the_locks_hold_what_the_project_asks_for() -> None:
    asked = [(RUNTIME, line) for line in PROJECT["project"]["dependencies"]]
    asked += [(DEV, line) for line in PROJECT["dependency-groups"]["dev"]]
    for group, folder in (
        ("networks", "scripts"), ("lyrics", "scripts"), ("npm", "scripts"), ("kubectl", "scripts"),
        ("tracing", "scripts"), ("sbom", "deploy/container"),
    ):  # fmt: skip
        lock = pins(f"{folder}/requirements-{group}.txt")
        asked += [(lock, line) for line in PROJECT["dependency-groups"][group]]
    for lock, line in asked:
        requirement = Requirement(line)
        assert lock[canonicalize_name(requirement.name)] in requirement.specifier, line


OURS = {"pipeline", "api", "ui"}
DISTRIBUTIONS = {
    "dotenv": "python-dotenv",
    "faster_whisper": "faster-whisper",
    "opentelemetry": "opentelemetry-api",
}
"""Import name -> name of the distribution, where they differ."""
NOT_IMPORTED = {
    "authlib",  # Streamlit imports it, for visitors of an organisation
    "psycopg",  # SQLAlchemy imports it, for DATABASE_URL=postgresql+psycopg://…
}


OPTIONAL = {"faster-whisper"}
"""Extras: what needs them says what to install."""


def third_party_imports(folder: str) -> set[str]:
    """Distributions that the modules below a folder import, at the top or inside functions."""
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return {
        canonicalize_name(DISTRIBUTIONS.get(name, name)) for name in found - sys.stdlib_module_names - OURS
    }


def test_the_project_asks_for_exactly_what_it_imports() -> None:
    asked = {canonicalize_name(Requirement(line).name) for line in PROJECT["project"]["dependencies"]}
    imported = set().union(*map(third_party_imports, ("pipeline", "api", "ui")))
    assert imported - OPTIONAL | NOT_IMPORTED == asked


def test_the_version_is_the_same_everywhere() -> None:
    assert PROJECT["project"]["version"] == VERSION


def test_both_locks_agree() -> None:
    assert not {name for name in DEV.keys() & RUNTIME.keys() if DEV[name] != RUNTIME[name]}


def test_the_lock_holds_nothing_of_cuda() -> None:
    assert not [name for name in EVERYTHING if CUDA.search(name)]


def test_what_is_installed_is_what_is_pinned() -> None:
    # The public part: 2.13.0+cpu is the CPU build of 2.13.0.
    installed = {name: Version(Version(importlib.metadata.version(name)).public) for name in EVERYTHING}
    assert installed == EVERYTHING, "run: make setup"


def test_the_runtime_lock_holds_all_that_its_packages_need() -> None:
    missing = []
    for name in RUNTIME:
        for line in importlib.metadata.requires(name) or []:
            needed = Requirement(line)
            if CUDA.search(needed.name) or (needed.marker and not needed.marker.evaluate({"extra": ""})):
                continue
            pinned = RUNTIME.get(canonicalize_name(needed.name))
            if pinned is None or pinned not in needed.specifier:
                missing.append(f"{name} needs {line}")
    assert not missing
