"""Known vulnerabilities of what the service is built from: asked of pip-audit, which asks a database."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from api.keeping.errors import AdvisoriesUnavailable
from api.telemetry import one_line

_TIMEOUT_S: Final = 600.0
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Audited:
    """What is known.

    Attributes:
        packages: how many were asked about.
        skipped: names of those that nobody could tell about, such as builds with a version of their own.
        vulnerable: by name, the ids of advisories.
    """

    packages: int
    skipped: list[str]
    vulnerable: dict[str, list[str]]


def audit_dependencies(requirements: Path, osv_url: str | None, timeout_s: float = _TIMEOUT_S) -> Audited:
    """Ask about every package of a file of pins.

    Args:
        requirements: the file.
        osv_url: address of a service that speaks like OSV; None: PyPI is asked.
        timeout_s: when to give up.

    Raises:
        AdvisoriesUnavailable: nobody could say. That is not the same as that there are none.
    """
    beside = Path(sys.executable).with_name("pip-audit")
    program = str(beside) if beside.is_file() else shutil.which("pip-audit")
    if program is None:
        raise AdvisoriesUnavailable(
            "pip-audit is not installed.", "Install it beside the service: pipx install pip-audit."
        )
    argv = [program, "--requirement", str(requirements), "--no-deps", "--disable-pip", "--format", "json",
            "--progress-spinner", "off"]  # fmt: skip
    if osv_url is not None:
        argv += ["--vulnerability-service", "osv", "--osv-url", osv_url]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as exc:
        raise _unknown(f"it gave no answer within {timeout_s:.0f} s") from exc
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
        # It ends with 1 where it found something, and where it could not ask.
        vulnerable = {one["name"]: sorted(v["id"] for v in one["vulns"]) for one in found if one.get("vulns")}
    except (ValueError, KeyError, TypeError) as exc:
        raise _unknown(_last_line(done.stderr)) from exc
    if done.returncode not in (0, 1) or (done.returncode == 1 and not vulnerable):
        raise _unknown(_last_line(done.stderr))
    return Audited(len(found), sorted(one["name"] for one in found if "skip_reason" in one), vulnerable)


def _last_line(said: str) -> str:
    lines = [one_line(line) for line in said.splitlines() if line.strip()]
    return lines[-1][:_SHOWN] if lines else "it said nothing"


def _unknown(why: str) -> AdvisoriesUnavailable:
    return AdvisoriesUnavailable(
        f"pip-audit could not ask its database: nothing is known of vulnerabilities ({why}).",
        "Run it where the network can be reached, or name a mirror by --osv-url.",
    )
