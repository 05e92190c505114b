"""What a million finished jobs cost those that come after: a real PostgreSQL with few rows, and with many.

    python -m bench.rows [--jobs 1000000] [--rounds 40]

Prints the median time of what the service asks of its store, before and after so many jobs have ended there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import median

from sqlalchemy import Engine, text

from api.database import open_database
from api.jobs.model import JobStatus
from api.jobs.sql_store import SqlJobStore
from api.jobs.store import JobFilter
from api.jobs.usage import usage_of
from api.migrate import upgrade
from tests.job_stores import new
from tests.postgres import Postgres

_OWNERS = 50

# A job that has ended, as many times as it is asked for: spread over owners and three years.
_JOBS = text("""
    INSERT INTO jobs (
        id, owner, status, place, filename, filename_folded, input_path, input_sha256, input_bytes, options,
        metadata, priority, level, turn, ranked_at, content_key, attempt, max_attempts, deaths, fence,
        cancel_requested, progress, stages, told_progress, duration_s,
        created_at, queued_at, started_at, finished_at
    )
    SELECT
        gen_random_uuid()::text, 'owner' || n % :owners,
        CASE n % 20 WHEN 0 THEN 'failed' WHEN 1 THEN 'succeeded' ELSE 'expired' END,
        n, 'song ' || n || '.flac', 'song ' || n || '.flac', NULL, md5(n::text) || md5(n::text), 30000000,
        '{"stems": ["vocals", "drums"]}', '{}', 0, 0, n, 0, md5(n::text), 1, 3, 0, 1,
        false, 1.0, '[{"name": "decode", "status": "succeeded", "seconds": 1.5}]', 1.0, 240.0,
        at, at, at + 5, at + 60
    FROM (
        SELECT n, extract(epoch FROM now()) - 94608000.0 * (1 - n::float8 / :jobs) - 5184000 AS at
        FROM generate_series(1, :jobs) AS n
    ) AS ended
""")
_EVENTS = text("""
    INSERT INTO job_events (job_id, kind, data, at)
    SELECT
        id, kind, '{"status": "expired", "attempt": 1, "progress": 1.0, "stage": null, "eta_s": null}',
        created_at
    FROM jobs CROSS JOIN unnest(ARRAY['queued', 'running', 'succeeded', 'expired']) AS kind
""")


def fill(engine: Engine, jobs: int) -> None:
    """Put jobs that have ended into a database, four events each."""
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(_JOBS, {"jobs": jobs, "owners": _OWNERS})
        connection.execute(_EVENTS)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("ANALYZE"))


def questions(store: SqlJobStore) -> dict[str, Callable[[], object]]:
    """What the service asks, by name; the first two change something."""

    def run() -> None:
        claim = store.claim("worker", 30.0)
        assert claim is not None and store.beat(claim, 30.0, progress=0.5).held and store.succeed(claim)

    recent = datetime.now(UTC) - timedelta(days=1)
    known = store.find(JobFilter(owner="owner1"), limit=1)[0]
    deep = store.find(JobFilter(owner="owner1"), limit=200)[-1]
    active = (JobStatus.QUEUED, JobStatus.RUNNING)
    return {
        "accept": lambda: store.add(new(owner="owner1")),
        "claim, beat and end": run,
        "look for work": lambda: store.counts(active),
        "GET /jobs/{id}": lambda: store.get(known.id),
        "GET /jobs/{id}/events": lambda: store.events(known.id, 0),
        "GET /jobs, first page": lambda: store.find(JobFilter(owner="owner1"), limit=50),
        "GET /jobs, after 200": lambda: store.find(JobFilter(owner="owner1"), after=deep.id, limit=50),
        "GET /jobs?status=failed": lambda: store.find(JobFilter("owner1", (JobStatus.FAILED,)), limit=50),
        "GET /jobs?since=yesterday": lambda: store.find(JobFilter("owner1", since=recent), limit=50),
        "GET /jobs?q=nothing like it": lambda: store.find(
            JobFilter("owner1", text="nothing like it"), limit=50
        ),
        "the same content again": lambda: store.find_content("owner1", "0" * 32),
        "GET /usage": lambda: usage_of(store, "owner1", datetime.now(UTC)),
        "every status counted": store.counts,
    }


def measure(store: SqlJobStore, rounds: int) -> dict[str, float]:
    """Median milliseconds of each question."""
    asked = questions(store)
    for _ in range(3):
        asked["accept"]()
    took: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(rounds):
        for name, ask in asked.items():
            begun = time.perf_counter()
            ask()
            took[name].append((time.perf_counter() - begun) * 1000)
    return {name: median(times) for name, times in took.items()}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=40)
    said = parser.parse_args()
    with Postgres(durable=True) as server:
        engine = open_database(server.create("rows"))
        upgrade(engine)
        store = SqlJobStore(engine)
        for n in range(100):
            store.add(new(owner=f"owner{n % _OWNERS}"))
        few = measure(store, said.rounds)
        begun = time.perf_counter()
        fill(engine, said.jobs)
        print(f"{said.jobs:,} jobs put in within {time.perf_counter() - begun:.0f} s")
        many = measure(store, said.rounds)
        with engine.connect() as connection:
            for table in ("jobs", "job_events"):
                size = connection.scalar(text("SELECT pg_total_relation_size(:t)"), {"t": table})
                heap = connection.scalar(text("SELECT pg_relation_size(:t)"), {"t": table})
                print(f"{table}: {heap / 1e6:,.0f} MB of rows, {(size - heap) / 1e6:,.0f} MB of indexes")
        engine.dispose()
    print(f"| | 100 jobs | {said.jobs:,} |\n| --- | --- | --- |")
    for name in few:
        print(f"| {name} | {few[name]:.1f} ms | {many[name]:.1f} ms |")


if __name__ == "__main__":
    main()
