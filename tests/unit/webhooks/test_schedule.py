"""When a webhook is tried again."""

from __future__ import annotations

import math
from itertools import accumulate

import pytest

from api.webhooks.schedule import MOST_TRIES, pause_s, retry_after

NOON = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


def test_the_schedule_is_that_of_the_standard() -> None:
    pauses = [pause_s(tries, 0.0) for tries in range(1, MOST_TRIES)]
    hours = [round(at / 3600, 2) for at in accumulate(p for p in pauses if p is not None)]
    assert hours == [0.0, 0.08, 0.58, 2.58, 7.58, 17.58, 31.58, 51.58, 75.58]


def test_after_the_last_try_there_is_none() -> None:
    assert pause_s(MOST_TRIES, 0.5) is None
    assert pause_s(MOST_TRIES, 0.5, retry_after_s=60) is None


def test_receivers_that_failed_together_are_not_called_together_again() -> None:
    assert pause_s(2, 0.0) == 300
    assert pause_s(2, 1.0) == pytest.approx(360)


def test_a_receiver_may_ask_for_more_time_but_not_for_less_and_not_for_weeks() -> None:
    assert pause_s(1, 0.0, retry_after_s=120) == 120
    assert pause_s(3, 0.0, retry_after_s=120) == 1800
    assert pause_s(1, 0.0, retry_after_s=math.inf) == 86400


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("9" * 400, math.inf),
        ("Fri, 15 Jan 2027 08:01:30 GMT", 90),
        ("Fri, 15 Jan 2027 08:01:30 -0000", 90),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0),
        (None, 0),
        ("", 0),
        ("-5", 0),
        ("1e9", 0),
        ("soon", 0),
        ("٣", 0),
        ("Fri, 99 Jan 2027 08:01:30 GMT", 0),
        ("Fri, 15 Jan 99999999999999999999 08:01:30 GMT", 0),
        ("Fri, 01 Jan 0001 00:00:00 +2300", 0),
    ],
)
def test_what_a_retry_after_header_asks_for(value: str | None, seconds: float) -> None:
    assert retry_after(value, NOON) == pytest.approx(seconds)
