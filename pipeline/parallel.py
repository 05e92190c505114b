"""Work done side by side by threads: networks, encoders and transforms compute outside of Python."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

from pipeline import control_group

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def usable_cores() -> int:
    """Cores that this process may use, by affinity and control group."""
    cores = len(os.sched_getaffinity(0))
    limit = control_group.OWN.cores()
    return cores if limit is None else min(cores, max(int(limit), 1))


def in_order(
    work: Callable[[_Item], _Result], items: Iterable[_Item], pool: Executor | None, ahead: int
) -> Iterator[_Result]:
    """Do several pieces of work at the same time and give their results in order.

    Args:
        work: to be done with each item.
        items: taken one by one, as there is room.
        pool: threads that do it; None: this thread does, each when its result is asked for.
        ahead: pieces that are begun while the result of one is used.
    """
    if pool is None:
        yield from map(work, items)
        return
    begun: deque[Future[_Result]] = deque()
    try:
        for item in items:
            begun.append(pool.submit(work, item))
            if len(begun) > ahead:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        for future in begun:
            future.cancel()
