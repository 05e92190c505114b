"""Numbers, times and sizes as a person reads them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

from ui import labels, texts

_STEPS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)


def clock(seconds: float | None) -> str:
    """A length such as 3:07 or 1:02:03; a dash where it is not known."""
    if seconds is None:
        return texts.UNKNOWN
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    tail = f"{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
    return f"{hours}:{tail}" if hours else tail


def marks(duration_s: float, most: int = 6) -> list[float]:
    """Round times for the axis of a recording, from its start: seconds.

    Args:
        duration_s: how long it is.
        most: as many as there is room for, besides the start.
    """
    step = next((step for step in _STEPS_S if duration_s / step <= most), _STEPS_S[-1])
    return [float(at) for at in range(0, math.ceil(duration_s), step)][: 10 * most]


def span(seconds: float) -> str:
    """A stretch of time, roughly: 40 s, 5 min, 2 h 10 min."""
    if seconds < 55:
        return texts.SECONDS_SHORT.format(
            seconds=max(1, round(seconds / 5) * 5 if seconds > 10 else round(seconds))
        )
    minutes = max(1, round(seconds / 60))
    if minutes < 90:
        return texts.MINUTES.format(minutes=minutes)
    return texts.HOURS.format(hours=minutes // 60, minutes=minutes % 60)


def size(count: float) -> str:
    """Bytes in the unit that suits them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit in ("B", "kB") or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def ago(at: datetime, now: datetime | None = None) -> str:
    """How long ago something was; after a month its day."""
    passed_s = ((now or datetime.now(UTC)) - at).total_seconds()
    if passed_s < 45:
        return texts.JUST_NOW
    if passed_s < 22 * 3600:
        return texts.AGO.format(time=span(passed_s))
    days = max(1, round(passed_s / 86400))
    if days <= 30:
        return texts.AGO.format(time=counted(texts.DAYS, days))
    return at.date().isoformat()


def until(at: datetime, now: datetime | None = None) -> str:
    """In how long something will be."""
    left_s = (at - (now or datetime.now(UTC))).total_seconds()
    return texts.IN_A_MOMENT if left_s < 2 else texts.IN_TIME.format(time=span(left_s))


def counted(forms: dict[str, str], count: int) -> str:
    """The form of a phrase that suits a number."""
    return forms["one"] if count == 1 else forms["many"].format(count=count)


def stem_name(name: str) -> str:
    """A stem as a person calls it; its own name where we have no other."""
    bare = name.removeprefix("no_")
    known = labels.STEM_NAMES.get(bare, bare)
    return texts.WITHOUT.format(stem=known.lower()) if name != bare else known
