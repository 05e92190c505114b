"""When a delivery that failed is tried again. Pure: time and chance are the caller's."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

PAUSES_S: Final = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
"""Seconds from one try to the next (Standard Webhooks 1.0.0, "Deliverability and reliability")."""

MOST_TRIES: Final = len(PAUSES_S) + 1
"""Tries until a delivery is given up; they take a little more than three days."""

_LONGEST_S: Final = 86400.0
_JITTER: Final = 0.2


def pause_s(tries: int, chance: float, retry_after_s: float = 0.0) -> float | None:
    """Seconds until a delivery is tried again.

    Args:
        tries: that have failed, at least one.
        chance: 0..1, at random: receivers that failed together shall not be called together again.
        retry_after_s: seconds that the receiver asked for. A day is granted at most; less than the schedule
            has it is not, or a receiver could use up its tries within minutes.

    Returns:
        None when the last try has failed.
    """
    if tries >= MOST_TRIES:
        return None
    planned = PAUSES_S[tries - 1] * (1.0 + _JITTER * chance)
    return max(planned, min(retry_after_s, _LONGEST_S))


def retry_after(value: str | None, at: float) -> float:
    """Seconds that a ``Retry-After`` header asks for (RFC 9110, 10.2.3); 0 where it makes no sense.

    Args:
        value: of the header: seconds or a date.
        at: now, in seconds since 1970.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
        asked = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):  # The year may have any number of digits.
        return 0.0
    return max(asked - at, 0.0)
