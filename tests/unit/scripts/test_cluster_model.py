from __future__ import annotations

import random

import pytest

from bench.cluster import Costs, Middle, jobs_for, simulate
from bench.cluster_model import Arrival, Load, arrivals, erlang_c, play, quantile
from pipeline.config import PipelineConfig


@pytest.mark.parametrize(("workers", "busy"), [(1, 0.7), (4, 0.8), (20, 0.9)])
def test_jobs_that_come_and_end_at_random_wait_as_erlang_says(workers: int, busy: float) -> None:
    """M/M/c: P(wait) = C(c, a), mean wait = C / (c - a) services (Kleinrock 1975, section 3.5)."""
    chance, at, jobs = random.Random(3), 0.0, []
    for _ in range(120_000):
        at += chance.expovariate(workers * busy)
        jobs.append(Arrival(at, chance.expovariate(1.0)))
    day = play(jobs, lambda job: job.audio_s, workers)
    wait = erlang_c(workers, workers * busy)
    assert sum(w > 1e-9 for w in day.waits_s) / len(jobs) == pytest.approx(wait, rel=0.08)
    assert sum(day.waits_s) / len(jobs) == pytest.approx(wait / (workers * (1 - busy)), rel=0.15)
    assert day.busy_s / (workers * day.end_s) == pytest.approx(busy, rel=0.02)


def test_erlangs_formula_gives_the_values_of_its_tables() -> None:
    assert erlang_c(1, 0.5) == pytest.approx(0.5)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert erlang_c(10, 8.0) == pytest.approx(0.4092, abs=1e-4)


def test_urgent_jobs_go_first_and_the_others_in_turn() -> None:
    jobs = [Arrival(0, 10), Arrival(1, 10), Arrival(2, 10), Arrival(3, 10, urgent=True)]
    day = play(jobs, lambda job: job.audio_s, 1)
    assert day.waits_s == [0, 7, 19, 28]
    assert day.urgent_s == [7]
    assert (day.busy_s, day.end_s, day.deepest) == (40, 40, 3)


def test_a_day_is_the_same_for_the_same_seed_and_has_as_many_jobs_as_it_should() -> None:
    load = Load(jobs=20_000)
    first, again, other = arrivals(load, 1), arrivals(load, 1), arrivals(load, 2)
    assert first == again != other
    assert len(first) == pytest.approx(20_000, rel=0.06)
    evening = sum(18 <= job.at_s / 3600 < 22 for job in first)
    night = sum(6 <= job.at_s / 3600 < 10 for job in first)
    assert evening > 3 * night
    assert sum(job.audio_s > 1500 for job in first) / len(first) == pytest.approx(0.1, abs=0.01)


def test_a_fuller_day_waits_longer_and_more_workers_come_nearer_to_what_is_full() -> None:
    costs, load = Costs([], PipelineConfig(model="htdemucs")), Load(0)

    def day(workers: int, busy: float) -> tuple[float, float, int]:
        jobs = jobs_for(workers, busy, load, costs)
        report = simulate(
            workers, Load(jobs, swing=0.2, burst_share=0.0), costs, Middle(), price_h=0.1, seed=1
        )
        assert report.utilisation == pytest.approx(busy, abs=0.12)
        return report.p95_s, report.database, report.full_at_workers

    calm, full, large = day(10, 0.5), day(10, 0.85), day(100, 0.85)
    assert calm[0] < full[0]
    assert large[0] < full[0]  # more workers share their luck
    assert large[1] == pytest.approx(10 * full[1], rel=0.5)
    assert large[2] == pytest.approx(full[2], rel=0.5)


def test_quantiles_of_nothing_are_nothing() -> None:
    assert (quantile([], 0.5), quantile([3, 1, 2], 0.5), quantile([1, 2], 0.99)) == (0, 2, 2)
