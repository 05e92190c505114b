"""A database of its own for every test."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import DATABASES
from tests.webhook_stores import Stores, open_stores


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an empty database: to copy it takes less than to make it."""
    folder = tmp_path_factory.mktemp("tables")
    open_stores(folder).engine.dispose()
    return folder


# The statements are plain; what is special about PostgreSQL, the suites of jobs and keys show.
@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def stores(request: pytest.FixtureRequest, tables: Path, tmp_path: Path) -> Iterator[Stores]:
    if request.param == "sqlite":
        shutil.copytree(tables, tmp_path, dirs_exist_ok=True)
    with DATABASES[request.param](tmp_path) as engine:
        yield Stores(engine, time.time())
