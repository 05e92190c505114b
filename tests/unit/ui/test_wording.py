from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api.jobs import spectrogram
from ui import texts, wording
from ui.views import result

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0:00"), (59.6, "1:00"), (187, "3:07"), (3723, "1:02:03"), (None, texts.UNKNOWN)],
)
def test_a_length_reads_like_a_clock(seconds: float | None, said: str) -> None:
    assert wording.clock(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "1 s"),
        (9, "9 s"),
        (12, "10 s"),
        (54, "55 s"),
        (58, "1 min"),
        (610, "10 min"),
        (7800, "2 h 10 min"),
    ],
)
def test_a_stretch_of_time_is_rough(seconds: float, said: str) -> None:
    assert wording.span(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (999, "999 B"), (1500, "2 kB"), (1_100_000, "1.1 MB"), (4.2e9, "4.2 GB"), (3e12, "3.0 TB")],
)
def test_a_size_is_told_in_its_unit(count: float, said: str) -> None:
    assert wording.size(count) == said


@pytest.mark.parametrize(
    ("passed", "said"),
    [
        (timedelta(seconds=3), "just now"),
        (timedelta(minutes=5), "5 min ago"),
        (timedelta(hours=23), "1 day ago"),
        (timedelta(days=12), "12 days ago"),
        (timedelta(days=60), "2026-09-25"),
    ],
)
def test_what_is_past_is_told_by_how_long(passed: timedelta, said: str) -> None:
    assert wording.ago(NOW - passed, NOW) == said


def test_what_comes_is_told_by_how_soon() -> None:
    assert wording.until(NOW, NOW) == texts.IN_A_MOMENT
    assert wording.until(NOW + timedelta(seconds=20), NOW) == "in 20 s"


def test_stems_are_called_by_name_and_unknown_ones_by_their_own() -> None:
    assert [wording.stem_name(n) for n in ("vocals", "no_vocals", "theremin")] == [
        "Vocals",
        "Without vocals",
        "theremin",
    ]


@pytest.mark.parametrize(
    ("duration_s", "marks"),
    [
        (0.5, [0]),
        (5.5, [0, 1, 2, 3, 4, 5]),
        (30, [0, 5, 10, 15, 20, 25]),
        (240, [0, 60, 120, 180]),
        (3700, [0, 1200, 2400, 3600]),
    ],
)
def test_an_axis_has_few_round_times(duration_s: float, marks: list[float]) -> None:
    assert wording.marks(duration_s) == marks


def test_the_marks_of_the_spectrogram_are_where_it_draws_them() -> None:
    assert result._SPECTROGRAM_HZ == (spectrogram._LOWEST_HZ, spectrogram._HIGHEST_HZ)
