"""How the service starts: with a key on its first start, and not at all where it could not serve."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service import ROOT, Service


def refused(folder: Path, **settings: str) -> list[str]:
    """The lines with which the service refuses to start."""
    done = subprocess.run(
        [sys.executable, "-m", "api", "serve"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DATA_DIR": str(folder / "data"), **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_the_first_start_shows_a_key_and_later_ones_show_none(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = Service(tmp_path, API_KEY="", DATA_DIR=str(data))
    with first:
        (key,) = re.findall(r"^API key  (ap_\S+) ", first.said.read_text(), re.MULTILINE)
        with first.client(key) as client:
            assert client.get("/jobs").status_code == 200
        first.stop()
    # What users send is private: nobody else of this machine can look into it.
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert key not in (data / "logs" / "api.log").read_text()
    with Service(tmp_path, API_KEY="", DATA_DIR=str(data)) as second:
        assert second.said.read_text().count("API key  ") == 1
        with second.client(key) as client:
            assert client.get("/jobs").status_code == 200


def test_a_port_that_is_taken_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        problem, hint = refused(tmp_path, API_PORT=str(port))
    assert problem == (
        f"error: API_HOST, API_PORT: 127.0.0.1 port {port} cannot be listened on: Address already in use."
    )
    assert hint.strip()
    assert not (tmp_path / "data" / "pipeline.db").exists()


@pytest.mark.parametrize("setting", ["LOGS_DIR", "OUTPUTS_DIR"])
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, setting: str) -> None:
    (tmp_path / "file").touch()
    problem, hint = refused(tmp_path, API_PORT="0", **{setting: str(tmp_path / "file" / "below")})
    assert problem.startswith(f"error: The folder '{tmp_path / 'file' / 'below'}' could not be written: ")
    assert hint.strip()
