"""Our rules for Prometheus with a faster clock, so that a test need not last as long as a night."""

from __future__ import annotations

import re
from typing import Final

LEAST_RANGE_S: Final = 5.0
"""Of what a range looks back over: some of the scrapes that come every second."""
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AGE: Final = re.compile(r"(oldest_seconds\) > |queue_oldest:seconds > )(\d+)")
_DURATION: Final = re.compile(r"(for: |\[)(\d+)([smhd])(\]|$)", re.MULTILINE)


def quickened(rules: str, faster: float, younger: float | None = None) -> str:
    """Divide the durations in a file of rules; nothing else of it changes.

    Ages of backups and certificates stay: they are a matter of dates, which a test may choose.

    Args:
        rules: the file's text.
        faster: divides every `for` and every range; a range stays at least `LEAST_RANGE_S`.
        younger: divides how old jobs, stages and waits may become; None: as `faster`.
    """
    if faster == 1.0 and younger is None:
        return rules

    def age(found: re.Match[str]) -> str:
        return f"{found[1]}{float(found[2]) / (younger or faster):g}"

    def duration(found: re.Match[str]) -> str:
        seconds = float(found[2]) * _SECONDS[found[3]] / faster
        least = LEAST_RANGE_S if found[1] == "[" else 0.0
        return f"{found[1]}{round(max(seconds, least) * 1000)}ms{found[4]}"

    return _DURATION.sub(duration, _AGE.sub(age, rules))
