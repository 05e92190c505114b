"""A day of load at 10, 100 and 1,000 workers: waits, utilisation, cost, and what is full first.

    python -m bench.cluster --workers 10,100,1000 --utilisation 0.7 --seed 1
    python -m bench.cluster --database postgresql://… (speeds that jobs of a real service have shown)

What a job costs is what the service itself predicts (`api.jobs.speed`): from the speeds that a database has
learned, or from the first guesses of docs/measurements.md. What the parts in the middle carry are the figures
measured there. The day is played event by event, the same for the same seed;
`tests/unit/scripts/test_cluster_model.py` holds it against Erlang's formula.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Final

from api.database import open_database
from api.jobs.capacity import USUAL_RATE, predict_room
from api.jobs.speed import Speed, predict
from api.jobs.speed_store import SpeedStore
from bench.cluster_model import DAY_S, Arrival, Load, arrivals, mean_audio_s, play, quantile
from pipeline.codec.probe import Probe
from pipeline.config import PipelineConfig

_STEP_S: Final = 5.0
"""Lengths are rounded to so much: what they cost is then computed once for many."""


@dataclass(frozen=True, slots=True)
class Middle:
    """What stands between API and workers, and what it carries; see docs/measurements.md.

    Attributes:
        accepted_s: jobs a second that PostgreSQL takes in.
        completed_s: jobs a second that are claimed, beaten for once and ended.
        heartbeats_s: heartbeats a second that it takes; a third of a job's writes, unless measured.
        beat_s: seconds between two heartbeats of a worker.
        messages_s: messages a second that Redis carries.
        storage_bytes_s: bytes a second that the storage moves, in and out.
    """

    accepted_s: float = 109.0
    completed_s: float = 26.0
    heartbeats_s: float = 78.0
    beat_s: float = 2.0
    messages_s: float = 40_000.0
    storage_bytes_s: float = 1.25e9


@dataclass(frozen=True, slots=True)
class Report:
    """What a day was like.

    Attributes:
        workers: how many there were.
        jobs: that came.
        utilisation: part of the day's worker seconds that were work.
        p50_s: seconds that a job waits: half of them less.
        p95_s: likewise.
        p99_s: likewise.
        urgent_p95_s: of those with a priority.
        deepest: most jobs that waited at a time.
        cost_per_song: of a worker's price, idle hours included, for each job.
        busiest_jobs_s: jobs that came a second, in the busiest hour.
        database: part of what PostgreSQL can do that this takes in the busiest hour; from 1 on it is full.
        heartbeats: the part of that that is heartbeats.
        redis: likewise, of Redis.
        storage: likewise, of the storage.
        full_at_workers: with how many workers, alike in all else, the first of them is full.
        first_full: which that is.
    """

    workers: int
    jobs: int
    utilisation: float
    p50_s: float
    p95_s: float
    p99_s: float
    urgent_p95_s: float
    deepest: int
    cost_per_song: float
    busiest_jobs_s: float
    database: float
    heartbeats: float
    redis: float
    storage: float
    full_at_workers: int
    first_full: str


class Costs:
    """What jobs cost, as the service predicts it.

    Args:
        speeds: that were learned; none: first guesses.
        config: of the jobs.
        factor: of all times: below 1 for a faster machine than the one that was measured.
        between_s: what a worker does between two jobs: look, claim, fetch the recording, publish.
    """

    def __init__(
        self, speeds: Sequence[Speed], config: PipelineConfig, *, factor: float = 1.0, between_s: float = 1.0
    ) -> None:
        self._speeds, self._config = speeds, config
        self._factor, self._between_s = factor, between_s
        self._seconds = lru_cache(maxsize=None)(self._predicted)

    def seconds(self, job: Arrival) -> float:
        """Of a worker, from its claim to its next one."""
        return self._between_s + self._factor * self._seconds(max(round(job.audio_s / _STEP_S), 1))

    def _predicted(self, steps: int) -> float:
        return predict(steps * _STEP_S, {}, self._speeds, self._config).seconds

    def bytes(self, audio_s: float) -> float:
        """Moved through the storage for a job: its recording in and out, its result in and once out."""
        size = audio_s * 128e3  # about half of what CD quality is: some are FLAC, some MP3
        probe = Probe("", "", USUAL_RATE, 2, ("FL", "FR"), audio_s)
        return 2 * size + 2 * predict_room(int(size), probe, self._config).result


def jobs_for(workers: int, utilisation: float, load: Load, costs: Costs) -> float:
    """How many jobs a day keep so many workers so busy on average."""
    sample = arrivals(replace(load, jobs=2000), 0)
    mean_s = sum(costs.seconds(job) for job in sample) / len(sample)
    return workers * DAY_S * utilisation / mean_s


def simulate(workers: int, load: Load, costs: Costs, middle: Middle, *, price_h: float, seed: int) -> Report:
    """Play a day, and see what it asks of everything.

    Args:
        workers: how many there are.
        load: how jobs come.
        costs: what they cost.
        middle: what stands between.
        price_h: of a worker and an hour.
        seed: of the day.
    """
    jobs = arrivals(load, seed)
    day = play(jobs, costs.seconds, workers)
    hours = max(day.end_s, DAY_S) / 3600
    came, began = day.came / 3600, day.began / 3600
    # All workers may be at work in the busiest hour, and each says so.
    beats = workers / middle.beat_s / middle.heartbeats_s
    database = came / middle.accepted_s + began / middle.completed_s + beats
    # A message for each job, what Celery tells of it, and what each machine of eight says of itself.
    redis = (came * 5 + workers / 8 * 1.5) / middle.messages_s
    storage = began * costs.bytes(mean_audio_s(load)) / middle.storage_bytes_s
    parts = {"PostgreSQL": database, "Redis": redis, "storage": storage}
    first = max(parts, key=lambda name: parts[name])
    return Report(
        workers=workers,
        jobs=len(jobs),
        utilisation=day.busy_s / (workers * hours * 3600),
        p50_s=quantile(day.waits_s, 0.5),
        p95_s=quantile(day.waits_s, 0.95),
        p99_s=quantile(day.waits_s, 0.99),
        urgent_p95_s=quantile(day.urgent_s, 0.95),
        deepest=day.deepest,
        cost_per_song=workers * hours * price_h / max(len(jobs), 1),
        busiest_jobs_s=came,
        database=database,
        heartbeats=beats / database,
        redis=redis,
        storage=storage,
        full_at_workers=int(workers / parts[first]),
        first_full=first,
    )


def main() -> None:
    """Print a line for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workers", default="10,100,1000", help="comma-separated")
    parser.add_argument("--utilisation", type=float, default=0.7, help="mean over the day, 0 to 1")
    parser.add_argument("--swing", type=float, default=0.7, help="of the rate over the day, 0 to 1")
    parser.add_argument("--bursts", type=float, default=0.3, help="part of the jobs that come in bursts")
    parser.add_argument("--model", default="htdemucs")
    parser.add_argument("--database", help="SQLAlchemy's URL of a service whose speeds are taken")
    parser.add_argument("--factor", type=float, default=1.0, help="of all times; 0.1: ten times as fast")
    parser.add_argument("--beat", type=float, default=2.0, help="seconds between heartbeats")
    parser.add_argument("--completed", type=float, default=26.0, help="jobs a second that the database ends")
    parser.add_argument("--price", type=float, default=0.08, help="of a worker (2 cores) and an hour")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    said = parser.parse_args()
    speeds: Sequence[Speed] = []
    if said.database:
        speeds = SpeedStore(open_database(said.database, create=False)).newest()
    costs = Costs(speeds, PipelineConfig(model=said.model), factor=said.factor)
    scale = said.completed / Middle().completed_s
    middle = Middle(
        accepted_s=109.0 * scale, completed_s=said.completed, heartbeats_s=78.0 * scale, beat_s=said.beat
    )
    if not said.json:
        print(_HEAD)
    for workers in map(int, said.workers.split(",")):
        load = Load(0, swing=said.swing, burst_share=said.bursts)
        load = replace(load, jobs=jobs_for(workers, said.utilisation, load, costs))
        report = simulate(workers, load, costs, middle, price_h=said.price, seed=said.seed)
        print(json.dumps(asdict(report)) if said.json else _line(report))


_HEAD: Final = (
    "| workers | jobs | busy | wait p50 | p95 | p99 | urgent p95 | deepest | a song | jobs/s "
    "| PostgreSQL (beats) | Redis | storage | full at |\n" + "| --- " * 14 + "|"
)


def _line(report: Report) -> str:
    waits = (report.p50_s, report.p95_s, report.p99_s, report.urgent_p95_s)
    cells = [
        f"{report.workers:,}",
        f"{report.jobs:,}",
        f"{report.utilisation:.0%}",
        *(f"{wait:,.0f} s" for wait in waits),
        f"{report.deepest:,}",
        f"{report.cost_per_song:.4f}",
        f"{report.busiest_jobs_s:.2f}",
        f"{report.database:.1%} ({report.heartbeats:.0%})",
        f"{report.redis:.2%}",
        f"{report.storage:.1%}",
        f"{report.full_at_workers:,} ({report.first_full})",
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
