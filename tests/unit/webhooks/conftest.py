"""A database of its own for every test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.webhook_stores import Stores, open_stores


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an empty database: to copy it takes less than to make it."""
    folder = tmp_path_factory.mktemp("tables")
    open_stores(folder).engine.dispose()
    return folder


@pytest.fixture
def stores(tables: Path, tmp_path: Path) -> Iterator[Stores]:
    shutil.copytree(tables, tmp_path, dirs_exist_ok=True)
    opened = open_stores(tmp_path)
    yield opened
    opened.engine.dispose()
