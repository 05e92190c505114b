from __future__ import annotations

import pytest

from api.errors import RangeUnsatisfiable
from api.file_answers import satisfiable


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("bytes=0-9", "bytes=0-9"),
        ("Bytes = 0-9 , 20-", "bytes=0-9,20-"),
        ("bytes=-5,,200-", "bytes=-5"),
        ("bytes=99-", "bytes=99-"),
        ("bytes=0-999999", "bytes=0-999999"),
        ("bytes=-0,7-7", "bytes=7-7"),
    ],
)
def test_what_a_file_has_of_the_ranges_is_served(asked: str, served: str) -> None:
    assert satisfiable(asked, 100) == served


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5-4",
        "bytes=a-",
        "bytes=1-2-3",
        "items=0-1",
        f"bytes={9**40}-",
    ],
)
def test_a_range_that_makes_no_sense_is_ignored(asked: str) -> None:
    assert satisfiable(asked, 100) is None


@pytest.mark.parametrize(
    ("asked", "size"), [("bytes=100-", 100), ("bytes=-0", 100), ("bytes=200-,300-400", 100), ("bytes=-1", 0)]
)
def test_ranges_that_are_all_behind_the_end_are_refused(asked: str, size: int) -> None:
    with pytest.raises(RangeUnsatisfiable) as refused:
        satisfiable(asked, size)
    assert refused.value.size == size
