"""What to make of a clock that is set: by hand, by a time server, or because the machine slept."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

_STEP_S: Final = 24 * 3600.0
"""A clock that goes forward by more at once is not believed yet; by less, nothing is lost that matters."""
_ABSENCE_S: Final = 7 * 24 * 3600.0
"""A service that was away for longer does not believe the clock that it finds either."""
_SETTLED_S: Final = 24 * 3600.0
"""A clock that has gone on steadily for so long is right: whoever set it has had time to notice."""


class ClockWatch:
    """Compares a clock with one that cannot be set.

    Args:
        steady: monotonic seconds.
    """

    def __init__(self, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        self._offset: float | None = None

    def moved_s(self, at: float) -> float:
        """By how many seconds the clock was set since the last call; negative: back. 0 at the first.

        Args:
            at: what the clock shows, in seconds.
        """
        offset = at - self._steady()
        before, self._offset = self._offset, offset
        return 0.0 if before is None else offset - before


class SteadyClock:
    """The time by which things are thrown away for their age.

    It is that of the machine, except after it was set forward by more than a day, or was found far ahead at a
    start: then it goes on from where it was, until the machine's has been steady for a day or is set back. So
    a clock that is wrong for some hours deletes nothing.

    Args:
        path: file in which the time is remembered over restarts.
        clock: seconds since 1970.
        steady: monotonic seconds.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._clock, self._steady = path, clock, steady
        self._watch = ClockWatch(steady)
        self._last: tuple[float, float] | None = None
        """What was believed at the last call, and when that was by the steady clock."""
        self._doubted_at: float | None = None

    def now(self) -> datetime:
        """The time, UTC; to be asked every few hours or more often."""
        at, steady = self._clock(), self._steady()
        moved_s = self._watch.moved_s(at)
        if self._last is None:
            believed = _remembered(self._path)
            self._last = (at if believed is None else believed, steady)
            moved_s = 0.0 if believed is None or at - believed <= _ABSENCE_S else at - believed
        believed = self._last[0] + steady - self._last[1]
        if moved_s > _STEP_S:
            self._doubted_at = steady
            said = {"action": "clock_doubted", "seconds": round(moved_s)}
            log.warning(
                "the clock is %.0f days ahead: nothing expires by it yet", moved_s / 86400, extra=said
            )
        settled = self._doubted_at is None or steady - self._doubted_at >= _SETTLED_S
        if settled or at <= believed + _STEP_S:
            self._doubted_at = None
            believed = at
            self._remember(at)
        self._last = (believed, steady)
        return datetime.fromtimestamp(believed, UTC)

    def _remember(self, at: float) -> None:
        temporary = self._path.with_suffix(".tmp")
        try:
            temporary.write_text(f"{at:.0f}\n")
            os.replace(temporary, self._path)
        except OSError as exc:
            said = {"action": "clock_not_kept"}
            log.warning("the time could not be remembered: %s", exc.strerror, extra=said)


def _remembered(path: Path) -> float | None:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return None
