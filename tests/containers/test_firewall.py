"""The firewall of docs/OPERATIONS.md: ufw itself takes every line, and changes nothing here."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest

from tests.service import ROOT

pytestmark = pytest.mark.containers

TEXT = (ROOT / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")
LINES = [line for line in re.findall(r"sudo (ufw [^\n`]+)", TEXT) if "…" not in line]


@pytest.mark.parametrize("line", LINES)
def test_ufw_takes_a_line_of_the_documentation(line: str) -> None:
    program, *words = shlex.split(line)
    asked = ["--force"] if words == ["enable"] else []  # It would ask whether ssh may be cut off.
    command = [program, "--dry-run", *asked, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ssh_is_let_in_before_the_door_is_closed() -> None:
    ssh, closed, enabled = ("ufw allow 22/tcp", "ufw default deny incoming", "ufw enable")
    assert LINES.index(ssh) < LINES.index(closed) < LINES.index(enabled)


def test_a_line_that_ufw_does_not_take_is_found_out() -> None:
    with pytest.raises(AssertionError):
        test_ufw_takes_a_line_of_the_documentation("ufw allow 443/http")
