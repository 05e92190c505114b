"""A folder belongs to its process as long as that lives, and to whoever removes it afterwards."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.locked_folder import LockedFolder, remove_unlocked, unlocked

HOLD = """
import pathlib, sys
from pipeline.locked_folder import LockedFolder
held = LockedFolder(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_folder_goes_when_its_context_is_left(tmp_path: Path) -> None:
    with LockedFolder(tmp_path / "one", 0o700) as held:
        (held.path / "file").touch()
        assert held.path.stat().st_mode & 0o777 == 0o700
        assert not remove_unlocked(held.path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_nobodys_to_take(tmp_path: Path) -> None:
    with LockedFolder(tmp_path / "one"), pytest.raises(FileExistsError):
        LockedFolder(tmp_path / "one")


def test_a_folder_is_removed_only_after_the_death_of_its_process(tmp_path: Path) -> None:
    path = tmp_path / "one"
    argv = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        assert not remove_unlocked(path)
        process.send_signal(signal.SIGKILL)
    assert remove_unlocked(path)
    assert not path.exists()
    assert not remove_unlocked(path)


def test_nobody_else_removes_what_is_held_as_unlocked(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with unlocked(tmp_path / "one") as ours, unlocked(tmp_path / "one") as too:
        assert (ours, too) == (True, False)


def test_whoever_removes_all_that_is_unlocked_takes_no_folder_from_who_is_just_making_it(
    tmp_path: Path,
) -> None:
    """Between the making of a folder and its lock it looks like a dead one's."""
    done = threading.Event()
    removed = 0

    def remove() -> None:
        nonlocal removed
        while not done.is_set():
            removed += remove_unlocked(tmp_path / "one")

    thread = threading.Thread(target=remove)
    thread.start()
    try:
        for _ in range(500):
            with LockedFolder(tmp_path / "one") as held:
                (held.path / "file").touch()
                os.stat(held.path / "file")
    finally:
        done.set()
        thread.join()
