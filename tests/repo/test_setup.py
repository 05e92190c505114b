"""scripts/setup.sh where it must not build, or cannot. Building is the first command of every fresh clone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BASICS = ("bash", "cat", "cksum", "dirname", "env", "flock", "grep", "id", "mv", "rm", "sed", "tr")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What setup.sh reads, in a folder with a blank in its name."""
    folder = tmp_path / "my checkout"
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    for lock in ("requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / lock, folder)
    return folder


@pytest.fixture
def ready_checkout(checkout: Path) -> Path:
    """A checkout whose .venv says that it was built from these locks."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / ".venv"], check=True)
    script = """
        version=$(sed -n 's/^torch==//p' requirements.txt)
        locks="requirements.txt requirements-dev.txt scripts/requirements-networks.txt"
        echo "cpu $version $(cat $locks | cksum | tr ' ' '-')" >.venv/.ready
    """
    subprocess.run(["bash", "-c", script], cwd=checkout, check=True)
    return checkout


def set_up(checkout: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    path = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    return subprocess.run(
        ["bash", checkout / "scripts" / "setup.sh"],
        env=path | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_ready_venv_is_left_alone_without_a_word(ready_checkout: Path) -> None:
    before = {path: path.lstat().st_mtime_ns for path in ready_checkout.rglob("*")}
    said = set_up(ready_checkout)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
    assert {path: path.lstat().st_mtime_ns for path in ready_checkout.rglob("*")} == before


@pytest.mark.parametrize(
    "lock", ["requirements.txt", "requirements-dev.txt", "scripts/requirements-networks.txt"]
)
def test_a_changed_lock_is_noticed(ready_checkout: Path, lock: str) -> None:
    with (ready_checkout / lock).open("a") as file:
        file.write("another-package==1.0\n")
    assert set_up(ready_checkout, PYTHON="/bin/false").returncode != 0


def test_a_half_made_venv_is_not_ready(ready_checkout: Path) -> None:
    (ready_checkout / ".venv" / ".ready").unlink()
    assert set_up(ready_checkout, PYTHON="/bin/false").returncode != 0


def test_another_build_of_torch_is_another_venv(ready_checkout: Path) -> None:
    assert set_up(ready_checkout, TORCH="cpu").returncode == 0
    assert set_up(ready_checkout, TORCH="cuda", PYTHON="/bin/false").returncode != 0


def test_a_python_of_another_version_is_refused_by_name(checkout: Path) -> None:
    said = set_up(checkout, PYTHON="/bin/false")
    assert said.returncode != 0
    assert "PYTHON=/bin/false is not a working Python 3.11" in said.stderr


def test_an_unknown_build_of_torch_is_refused(checkout: Path) -> None:
    said = set_up(checkout, TORCH="rocm")
    assert said.returncode != 0
    assert "TORCH=rocm is neither cpu nor cuda" in said.stderr


def test_where_nothing_can_be_installed_it_says_what_is_missing(checkout: Path, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in BASICS:
        (programs / name).symlink_to(shutil.which(name) or pytest.fail(f"no {name}"))
    said = set_up(checkout, PATH=str(programs))
    assert said.returncode != 0
    assert "this machine lacks python3.11-venv ffmpeg" in said.stderr
    assert not (checkout / ".venv").exists()
