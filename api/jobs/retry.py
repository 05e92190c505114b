"""How long a job rests after an attempt that may succeed later."""

from __future__ import annotations

from typing import Final

FIRST_S: Final = 5.0
"""Rest after the first failure, in seconds."""
FACTOR: Final = 4.0
"""Each further rest is so many times as long."""
LONGEST_S: Final = 600.0
"""No rest is longer, in seconds."""
SPREAD: Final = 0.25
"""Up to this share of a rest is taken off, so that jobs that failed together do not come back together."""


def retry_pause_s(attempts: int, chance: float) -> float:
    """Seconds until a job may be tried again: about 5, 20, 80, 320, then 600.

    Args:
        attempts: begun so far, at least 1.
        chance: 0..1, drawn anew for every failure.
    """
    # 10: the power of a job with a million attempts would not fit a float.
    whole = min(FIRST_S * FACTOR ** min(attempts - 1, 10), LONGEST_S)
    return whole * (1.0 - SPREAD * chance)
