from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import pipeline

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "librosa", "demucs", "onnx", "openvino", "scipy"}
CONTRACTS = ("pipeline.manifest", "pipeline.annotations", "pipeline.config", "pipeline.errors")


def modules_after(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after running some code."""
    said = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json, sys; print(json.dumps(list(sys.modules)))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    return {name.partition(".")[0] for name in json.loads(said.stdout.splitlines()[-1])}


def test_every_import_keeps_to_the_rules() -> None:
    lint = "from importlinter.cli import lint_imports_command as main; main(['--no-logo', '--no-cache'])"
    said = subprocess.run([sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_contract_is_read_without_numpy_and_torch(contract: str) -> None:
    assert not {"numpy", "scipy", *HEAVY} & modules_after(f"import {contract}")


def test_help_is_shown_without_heavy_packages() -> None:
    code = (
        "import runpy, sys, contextlib\n"
        "sys.argv = ['pipeline', '--help']\n"
        "with contextlib.suppress(SystemExit): runpy.run_module('pipeline', run_name='__main__')"
    )
    assert not HEAVY & modules_after(code)


def test_every_module_can_be_imported_without_heavy_packages() -> None:
    names = [
        m.name for m in pkgutil.walk_packages(pipeline.__path__, "pipeline.") if "__main__" not in m.name
    ]
    assert "pipeline.manifest" in names
    assert not HEAVY & modules_after("\n".join(f"import {name}" for name in names))
