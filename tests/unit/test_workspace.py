import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import OutputUnwritable
from pipeline.workspace import Workspace, sweep

HOLD = """
import sys, pathlib
from pipeline.workspace import Workspace
work = Workspace(pathlib.Path(sys.argv[1]), "held")
print("ready", flush=True)
sys.stdin.read()
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_job_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Workspace(tmp_path / "new", "job"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_failing_job_does_not_remove_a_folder_that_was_there(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Workspace(tmp_path, "job"):
        raise RuntimeError
    assert tmp_path.exists()


def test_a_job_id_that_has_a_result_is_refused(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    with pytest.raises(OutputUnwritable, match="already"):
        Workspace(tmp_path, "job")


def test_the_work_of_a_killed_process_is_swept_away(tmp_path: Path) -> None:
    process = hold(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (tmp_path / ".held.partial").exists()
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_work_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    process = hold(tmp_path)
    try:
        sweep(tmp_path)
        assert (tmp_path / ".held.partial" / "scratch").exists()
    finally:
        process.kill()
        process.communicate()


def test_a_folder_that_may_not_be_made_is_an_unwritable_output(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OutputUnwritable):
        Workspace(file / "below", "job")
    assert os.listdir(tmp_path) == ["file"]
