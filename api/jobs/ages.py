"""How long what runs has been running: the longest job, and the longest of each stage."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from api.jobs.model import JobStatus
from api.jobs.tables import jobs
from pipeline.progress import STAGES


@dataclass(frozen=True, slots=True)
class Ages:
    """Ages of what runs.

    Attributes:
        job_s: seconds of the attempt that runs for longest; 0 where none does.
        stage_s: seconds of the stage that runs for longest, by its name; 0 where none does.
    """

    job_s: float = 0.0
    stage_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))


def ages_of_running(connection: Connection, at: float) -> Ages:
    """Look how old what runs is.

    Workers time stages by a clock that is never set, and say so with every heartbeat; only what has passed
    since the last one is by the database's. So a worker that hangs ages on, and a clock that is set makes
    nobody a year old for longer than until the next heartbeat.

    Args:
        connection: of a transaction that reads.
        at: seconds since 1970 by the database's clock.
    """
    ages = Ages()
    job_s = 0.0
    query = select(jobs.c.leased_at, jobs.c.stages).where(jobs.c.status == JobStatus.RUNNING)
    for leased_at, stages in connection.execute(query):
        silent_s = max(at - leased_at, 0.0)
        job_s = max(job_s, sum(stage["seconds"] for stage in stages) + silent_s)
        for stage in stages[-1:]:
            stage_s = stage["seconds"] + silent_s
            ages.stage_s[stage["name"]] = max(ages.stage_s.get(stage["name"], 0.0), stage_s)
    return Ages(job_s, ages.stage_s)
