"""Work by threads side by side comes back in order, and stops with whoever asked for it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.parallel import in_order


def test_results_come_in_the_order_of_the_items_however_long_each_takes() -> None:
    last_begun = threading.Event()

    def work(item: int) -> int:
        if item == 2:
            last_begun.set()
        if item == 0:
            assert last_begun.wait(60)  # ends after those that were begun later
        return item

    with ThreadPoolExecutor(3) as pool:
        assert list(in_order(work, range(9), pool, 3)) == list(range(9))


def test_no_more_is_begun_than_was_asked_for() -> None:
    begun: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        results = in_order(lambda item: begun.append(item) or item, range(100), pool, 2)
        assert next(results) == 0
        results.close()
    assert len(begun) <= 3


def test_without_threads_each_item_waits_until_its_result_is_asked_for() -> None:
    begun: list[int] = []
    results = in_order(lambda item: begun.append(item) or item, range(3), None, 2)
    assert next(results) == 0
    assert begun == [0]


def test_a_failure_is_raised_in_its_turn_and_ends_the_rest() -> None:
    def work(item: int) -> int:
        if item == 1:
            raise ValueError(item)
        return item

    with ThreadPoolExecutor(2) as pool:
        results = in_order(work, range(50), pool, 2)
        assert next(results) == 0
        with pytest.raises(ValueError, match="1"):
            next(results)
        assert list(results) == []
