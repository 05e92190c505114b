"""What is asked of a GPU follows from what it is."""

from __future__ import annotations

import pytest

from pipeline.separators.gpu import MOST_ROWS, gpu_precision, rows_that_fit

GIB = 1 << 30


@pytest.mark.parametrize(
    ("capability", "precision"),
    [
        ((7, 0), "float16"),
        ((7, 5), "float16"),
        ((8, 0), "bfloat16"),
        ((9, 0), "bfloat16"),
        ((12, 0), "bfloat16"),
    ],
)
def test_bfloat16_is_taken_where_a_gpu_has_it(capability: tuple[int, int], precision: str) -> None:
    assert gpu_precision(capability) == precision


@pytest.mark.parametrize(("free", "rows"), [(80 * GIB, MOST_ROWS), (5 * GIB, 4), (GIB, 1), (0, 1)])
def test_as_many_rows_as_fit_with_some_room_to_spare(free: int, rows: int) -> None:
    assert rows_that_fit(free, GIB) == rows


def test_networks_that_take_nothing_are_no_division_by_it() -> None:
    assert rows_that_fit(GIB, 0) == MOST_ROWS
