"""Which processor computes: libraries choose their kernels, and so the order of their sums, by it."""

from __future__ import annotations

import hashlib
import platform
from functools import lru_cache
from pathlib import Path
from typing import Final

_SAID: Final = frozenset({"model name", "flags", "cache size", "CPU implementer", "CPU part", "Features"})
"""Fields of /proc/cpuinfo on x86-64 and on Arm."""


@lru_cache(maxsize=1)
def processor_identity() -> str:
    """16 hexadecimal digits, equal where processors are of one model and have the same instructions."""
    said = {platform.machine()}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in _SAID:
                said.add(f"{name.strip()}: {value.strip()}")
    except OSError:
        said.add(platform.processor())
    return hashlib.sha256("\n".join(sorted(said)).encode()).hexdigest()[:16]
