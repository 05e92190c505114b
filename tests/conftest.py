"""What every test may use: real weights, real music, and the rule that nothing is skipped silently."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.audio import FloatArray
from pipeline.config import WeightsConfig
from pipeline.weights.fetch import ensure
from pipeline.weights.registry import DEFAULT, get_model_spec
from tests.postgres import stop_shared

SONG_STEMS = ("drums", "bass", "other", "vocals")
"""Stems of the song in the order of its audio streams 1 to 4; stream 0 is the mix.

The order is the Stems format's (stems-music.com), and the names stand in the file's ``stem`` atom.
"""
SONG_SAMPLE_RATE = 44100


@pytest.fixture(scope="session")
def weights_dir() -> Path:
    """The cache folder that holds the default model's verified weights; they are fetched if need be."""
    folder = os.environ.get("WEIGHTS_DIR")
    config = WeightsConfig(cache_dir=Path(folder) if folder else None)
    return ensure(get_model_spec(DEFAULT), config)[0].parent


@pytest.fixture(scope="session")
def song() -> Path:
    """A real song of 6 s with four stems, AAC in MP4: the one that the stempeg package carries."""
    spec = importlib.util.find_spec("stempeg")
    assert spec is not None and spec.origin is not None
    (path,) = Path(spec.origin).parent.glob("data/*.stem.mp4")
    return path


@pytest.fixture(scope="session")
def song_mix(song: Path) -> FloatArray:
    """The song's mix: float32 (2, samples) at `SONG_SAMPLE_RATE`."""
    return _stream(song, 0)


@pytest.fixture(scope="session")
def song_stems(song: Path) -> dict[str, FloatArray]:
    """The song's true stems by name: float32 (2, samples) at `SONG_SAMPLE_RATE`."""
    return {name: _stream(song, index) for index, name in enumerate(SONG_STEMS, start=1)}


def _stream(path: Path, index: int) -> FloatArray:
    argv = ["ffmpeg", "-v", "fatal", "-nostdin", "-i", str(path), "-map", f"0:{index}", "-f", "f32le", "-"]
    raw = subprocess.run(argv, check=True, capture_output=True).stdout
    samples = np.frombuffer(raw, dtype="<f4").reshape(-1, 2).T
    samples.setflags(write=False)
    return samples


def in_ci() -> bool:
    """Whether this run decides about a change."""
    return os.environ.get("CI", "").lower() == "true"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to `make test-all` what takes long on PostgreSQL and is the same SQL as on SQLite."""
    for item in items:
        spec = getattr(item, "callspec", None)
        if item.get_closest_marker("slow_on_postgresql") and spec and "postgresql" in spec.id.split("-"):
            item.add_marker(pytest.mark.slow)


def pytest_unconfigure() -> None:
    """End the PostgreSQL of this run."""
    stop_shared()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test has failed: what was not run was not proved."""
    report = yield
    if in_ci() and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", f"skipped in CI: {_reason(report)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for whole files that skip themselves."""
    report = yield
    if in_ci() and report.skipped:
        report.outcome, report.longrepr = "failed", f"skipped in CI: {_reason(report)}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name every skipped test where nobody overlooks it."""
    skipped: Sequence[pytest.TestReport | pytest.CollectReport] = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section(f"{len(skipped)} SKIPPED: in CI this run would have failed", red=True)
        for report in skipped:
            terminalreporter.line(f"{report.nodeid}: {_reason(report)}", red=True)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    said = report.longrepr
    return said[2] if isinstance(said, tuple) else str(said)
