"""The backends that the suites of this folder run against."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.jobs.store import JobStore
from tests.databases import DATABASES
from tests.job_stores import At, backend


@pytest.fixture(params=DATABASES)
def at(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[At]:
    with backend(request.param, tmp_path) as store_at:
        yield store_at


@pytest.fixture
def store(at: At) -> JobStore:
    return at(0.0)
