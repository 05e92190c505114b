"""A skipped test must not look like a passed one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SKIPPED_TEST = "import pytest\ndef test_server(): pytest.skip('there is no server')\n"
SKIPPED_FILE = "import pytest\npytest.skip('there is no server', allow_module_level=True)\n"


def run_pytest(folder: Path, ci: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", folder, folder],
        cwd=ROOT,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("content", [SKIPPED_TEST, SKIPPED_FILE])
def test_in_ci_a_skipped_test_fails_the_run(tmp_path: Path, content: str) -> None:
    (tmp_path / "test_it.py").write_text(content)
    said = run_pytest(tmp_path, ci="true")
    assert said.returncode != 0
    assert "skipped in CI: Skipped: there is no server" in said.stdout


def test_elsewhere_a_skipped_test_is_named_loudly(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(SKIPPED_TEST + "def test_sum(): assert 1 + 1 == 2\n")
    said = run_pytest(tmp_path, ci="")
    assert said.returncode == 0
    assert "1 SKIPPED: in CI this run would have failed" in said.stdout
    assert "there is no server" in said.stdout
