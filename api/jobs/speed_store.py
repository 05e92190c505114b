"""What jobs have shown of this machine's speed, in the database: it outlives jobs and restarts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from sqlalchemy import ColumnElement, Engine, Row, and_, insert, select

from api.jobs.speed import Machine, Speed
from api.jobs.tables import job_speeds
from api.transactions import DatabaseTime, reading, writing

_KEPT: Final = 20
"""Jobs for each model, arithmetic, device and number of threads."""
_MOST: Final = 200


class SpeedStore:
    """The speeds of jobs that have ended.

    Args:
        engine: of the database.
        now: the time by the database, in seconds since 1970.
    """

    def __init__(self, engine: Engine, now: ColumnElement[float] | None = None) -> None:
        self._engine = engine
        self._now = select(DatabaseTime() if now is None else now)

    def add(self, speed: Speed) -> None:
        """Keep what a job has shown; the oldest of many of its kind goes.

        Raises:
            DatabaseUnavailable: the database is busy, out of reach or damaged.
            DiskFull: no space left.
            OutputUnwritable: it may not be written.
        """
        row = asdict(speed)
        machine = row.pop("machine")
        same = and_(*(job_speeds.c[name] == value for name, value in machine.items()))
        with writing(self._engine) as connection:
            at: float = connection.scalars(self._now).one()
            connection.execute(insert(job_speeds).values(at=at, **machine, **row))
            newest = select(job_speeds.c.seq).where(same).order_by(job_speeds.c.seq.desc())
            oldest = connection.scalar(newest.offset(_KEPT - 1).limit(1))
            if oldest is not None:
                connection.execute(job_speeds.delete().where(same, job_speeds.c.seq < oldest))

    def newest(self) -> Sequence[Speed]:
        """What was seen last, the newest first.

        Raises:
            DatabaseUnavailable: the database is busy, out of reach or damaged.
        """
        with reading(self._engine) as connection:
            query = select(job_speeds).order_by(job_speeds.c.seq.desc()).limit(_MOST)
            return [_speed(row) for row in connection.execute(query)]


def _speed(row: Row) -> Speed:  # type: ignore[type-arg]
    values = dict(row._mapping)
    machine = Machine(**{name: values.pop(name) for name in ("model", "arithmetic", "device", "threads")})
    del values["seq"], values["at"]
    return Speed(machine=machine, **values)
