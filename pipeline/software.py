"""Which software made a result."""

from __future__ import annotations

import platform
import re
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

VERSION = "0.1.0"
"""Version of Audio Pipeline; a test keeps ``pyproject.toml`` equal."""

_PACKAGES = ("demucs", "torch", "openvino", "librosa", "numpy", "scipy", "soundfile", "soxr")


@lru_cache(maxsize=1)
def software_versions() -> dict[str, str]:
    """Versions of everything that can change a sample or an estimate."""
    found = {"audio-pipeline": VERSION, "python": platform.python_version(), "ffmpeg": _ffmpeg()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _ffmpeg() -> str:
    try:
        said = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    match = re.match(r"ffmpeg version (\S+)", said.stdout)
    return match[1] if match else "unknown"
