"""The image, built once for all tests here, on a base bootstrapped from the machine's package sources."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.engine import Engine
from tests.service import ROOT

BASE = "localhost/python:3.11"
IMAGE = "localhost/audio-pipeline:test"


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Podman with a storage of its own; CONTAINERS_DIR keeps its images from one run to the next."""
    kept = os.environ.get("CONTAINERS_DIR")
    engine = Engine(Path(kept) if kept else tmp_path_factory.mktemp("containers"))
    if not engine.exists(BASE):
        engine.bootstrap(BASE, "python3.11", "python3.11-venv", "ca-certificates")
    yield engine
    engine.clear(everything=not kept)


@pytest.fixture(scope="session")
def image(engine: Engine) -> str:
    """The image of this checkout."""
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
    engine.build(IMAGE, ROOT, f"--build-arg=PYTHON_IMAGE={BASE}", f"--build-arg=REVISION={revision}")
    return IMAGE
