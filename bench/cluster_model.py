"""A day of many workers, played in seconds: jobs come, wait, and are worked at, and nothing is computed."""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

DAY_S: Final = 86_400.0
_HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job that comes.

    Attributes:
        at_s: seconds since midnight.
        audio_s: length of its recording.
        urgent: whether it goes before those that are not.
    """

    at_s: float
    audio_s: float
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """How jobs come over a day.

    Attributes:
        jobs: expected, in all.
        swing: 0: as many at night as by day; 1: none at the quietest hour, twice the mean at the busiest.
        peak_h: hour of the day at which most come.
        burst_share: part of the jobs that come in bursts: somebody sends an album or a library at once.
        burst_jobs: of a burst, on average.
        urgent_share: part of the jobs with a priority.
        lengths: share and seconds of recordings; those of one kind differ by a fifth or so.
    """

    jobs: float
    swing: float = 0.7
    peak_h: float = 20.0
    burst_share: float = 0.3
    burst_jobs: float = 40.0
    urgent_share: float = 0.1
    lengths: tuple[tuple[float, float], ...] = ((0.90, 225.0), (0.08, 2700.0), (0.02, 9000.0))


@dataclass(frozen=True, slots=True)
class Day:
    """What became of a day.

    Attributes:
        waits_s: from coming to beginning, of each job in the order in which they began.
        urgent_s: of those with a priority.
        busy_s: seconds of work, of all workers.
        end_s: when the last job ended, seconds since midnight.
        deepest: most jobs that waited at a time.
        began: most jobs that began in an hour.
        came: most jobs that came in an hour.
    """

    waits_s: list[float]
    urgent_s: list[float]
    busy_s: float
    end_s: float
    deepest: int
    began: int
    came: int


def arrivals(load: Load, seed: int) -> list[Arrival]:
    """The jobs of a day, the same for the same seed.

    They come by a Poisson process whose rate swings once a day (thinning: Lewis and Shedler 1979); a burst
    counts as one event of it.
    """
    chance = random.Random(seed)
    single = load.jobs * (1.0 - load.burst_share) / DAY_S
    bursts = load.jobs * load.burst_share / load.burst_jobs / DAY_S
    found = [_job(load, at, chance) for at in _moments(single, load, chance)]
    for at in _moments(bursts, load, chance):
        size = 1 + int(chance.expovariate(1.0 / max(load.burst_jobs - 1.0, 1e-9)))
        # As fast as a batch is taken in: a few a second.
        found += [_job(load, at + 0.3 * number, chance) for number in range(size)]
    return sorted(found, key=lambda job: job.at_s)


def _moments(rate: float, load: Load, chance: random.Random) -> Iterator[float]:
    at, most = 0.0, rate * (1.0 + load.swing)
    while most > 0 and (at := at + chance.expovariate(most)) < DAY_S:
        now = 1.0 + load.swing * math.cos(2 * math.pi * (at / _HOUR_S - load.peak_h) / 24.0)
        if chance.random() * (1.0 + load.swing) < now:
            yield at


def _job(load: Load, at: float, chance: random.Random) -> Arrival:
    shares = [share for share, _ in load.lengths]
    middle = chance.choices([seconds for _, seconds in load.lengths], shares)[0]
    return Arrival(at, middle * chance.lognormvariate(0.0, 0.25), chance.random() < load.urgent_share)


def mean_audio_s(load: Load) -> float:
    """Expected seconds of a recording."""
    return sum(share * seconds for share, seconds in load.lengths) * math.exp(0.25**2 / 2)


def play(jobs: list[Arrival], work_s: Callable[[Arrival], float], workers: int) -> Day:
    """Let workers do jobs: urgent ones first, then whoever came first; each by one worker, to its end.

    Args:
        jobs: in the order in which they come.
        work_s: of each, in seconds, with all that a worker does between two looks.
        workers: how many there are.
    """
    free = [0.0] * workers  # when each is free
    line: list[tuple[bool, float, int, Arrival]] = []
    came: Counter[int] = Counter()
    began: Counter[int] = Counter()
    waits: list[float] = []
    urgent: list[float] = []
    busy = end = 0.0
    deepest = 0

    def begin(job: Arrival) -> None:
        nonlocal busy, end
        start = max(heapq.heappop(free), job.at_s)
        took = work_s(job)
        heapq.heappush(free, start + took)
        busy, end = busy + took, max(end, start + took)
        waits.append(start - job.at_s)
        if job.urgent:
            urgent.append(start - job.at_s)
        began[int(start // _HOUR_S)] += 1

    for number, job in enumerate(jobs):
        while line and free[0] <= job.at_s:  # Whoever was free before this one came has begun another.
            begin(heapq.heappop(line)[3])
        came[int(job.at_s // _HOUR_S)] += 1
        heapq.heappush(line, (not job.urgent, job.at_s, number, job))
        if free[0] <= job.at_s:
            begin(heapq.heappop(line)[3])
        deepest = max(deepest, len(line))
    while line:
        begin(heapq.heappop(line)[3])
    return Day(
        waits, urgent, busy, end, deepest, max(began.values(), default=0), max(came.values(), default=0)
    )


def erlang_c(workers: int, load: float) -> float:
    """The part of jobs that wait where they come and end at random: M/M/c (Erlang 1917).

    Args:
        workers: c.
        load: mean work that comes in the time of one: below c.
    """
    blocked = 1.0
    for number in range(1, workers + 1):  # Erlang B by its recursion, which overflows nowhere.
        blocked = load * blocked / (number + load * blocked)
    return workers * blocked / (workers - load * (1.0 - blocked))


def quantile(values: list[float], part: float) -> float:
    """The value that so large a part stays below; 0 of none."""
    ordered = sorted(values)
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)] if ordered else 0.0
