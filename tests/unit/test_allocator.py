"""Whether freed arrays are kept or given back: seen from the faults that touching them causes."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

TOUCH = """
import numpy, resource
from pipeline.allocator import large_arrays

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        numpy.full(4_000_000, 1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with large_arrays(kept={kept}):
    numpy.full(4_000_000, 1.0)
    inside = faults()
print(inside, faults())
"""
PAGES = 10 * 4_000_000 * 8 // resource.getpagesize()


def faults(kept: bool) -> tuple[int, int]:
    """Faults of ten arrays of 32 MB while a recording is separated, and of ten afterwards."""
    # Huge pages would make a fault of many.
    env = {"NUMPY_MADVISE_HUGEPAGE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", TOUCH.format(kept=kept)], capture_output=True, text=True, check=True, env=env
    )
    inside, after = map(int, done.stdout.split())
    return inside, after


def test_kept_arrays_are_not_mapped_again() -> None:
    inside, after = faults(kept=True)
    assert inside < PAGES / 10
    assert after > PAGES / 2


@pytest.mark.parametrize("kept", [True, False])
def test_after_a_separation_large_arrays_go_back(kept: bool) -> None:
    assert faults(kept)[1] > PAGES / 2
