"""Workers, Redis, PostgreSQL and the network die at random: every job ends, and ends once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import chaos, flawless, told


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2])
def test_every_job_ends_once_whatever_dies(tmp_path: Path, seed: int) -> None:
    count = 40
    with chaos(tmp_path, workers=2, seed=seed) as cluster:
        report = cluster.run(count, tmp_path, 3)
    assert flawless(report, count), told(report)
    assert sum(report.blows.values()) > 3
