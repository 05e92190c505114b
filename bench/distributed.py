"""Jobs over PostgreSQL and Redis beside jobs on SQLite, and what dying parts cost.

    python -m bench.distributed claims [--jobs 2000] [--clients 8]
    python -m bench.distributed throughput [--jobs 60] [--workers 2]
    python -m bench.distributed chaos [--jobs 1000] [--workers 4] [--seed 1] [--every 10] [--volume]

`claims`: how many jobs a second are accepted, claimed, kept alive and ended by parallel clients, without any
audio. `throughput`: tiny real jobs by an embedded service, and by Celery on as many processes. `chaos`: tiny
real jobs on S3, or a volume, while worker processes and machines, Redis (with what it kept, and without),
PostgreSQL and the network between them die at random; says whether every job ended exactly once.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx2 as httpx
from sqlalchemy import Engine

from api.database import open_database
from api.jobs.sql_store import SqlJobStore
from api.migrate import upgrade
from tests.audio_files import music, write_wav
from tests.chaos import chaos, flawless, told
from tests.cluster import cluster
from tests.job_stores import new
from tests.postgres import Postgres
from tests.service import Service, ended


def claim_rates(name: str, engine: Engine, jobs: int, clients: int) -> None:
    """Print how many steps of jobs a second a store takes from parallel clients."""
    store = SqlJobStore(engine)

    def add(n: int) -> None:
        store.add(new(owner=f"owner{n % 7}"))

    def run(n: int) -> None:
        claim = store.claim(f"worker{n % clients}", 30.0)
        assert claim is not None
        assert store.beat(claim, 30.0, progress=0.5).held
        assert store.succeed(claim)

    for what, step in (("accepted", add), ("claimed, beaten and ended", run)):
        begun = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(step, range(jobs)))
        print(f"{name:<12} {jobs / (time.perf_counter() - begun):8.1f} a second {what}")


def claims(jobs: int, clients: int) -> None:
    """Both databases, durable as in production."""
    with tempfile.TemporaryDirectory() as folder, Postgres(durable=True) as server:
        urls = {"sqlite": f"sqlite:///{folder}/jobs.db", "postgresql": server.create("pipeline")}
        for name, url in urls.items():
            engine = open_database(url)
            upgrade(engine)
            claim_rates(name, engine, jobs, clients)
            engine.dispose()


def _submitted(http: httpx.Client, folder: Path, n: int) -> str:
    path = write_wav(folder / "tiny.wav", music(0.2) * (1.0 - n / 10_000))
    with path.open("rb") as file:
        fields = {"estimators": "none", "formats": "wav", "stems": "drums"}
        answer = http.post("/process", files={"file": ("tiny.wav", file)}, data=fields)
    return str(answer.raise_for_status().json()["id"])


def _pass(http: httpx.Client, folder: Path, jobs: int) -> float:
    _ended_all(http, [_submitted(http, folder, n) for n in range(10_000 - 4, 10_000)])  # all are warm
    ids = [_submitted(http, folder, n) for n in range(jobs)]
    begun = time.perf_counter()
    _ended_all(http, ids)
    return time.perf_counter() - begun


def _ended_all(http: httpx.Client, ids: list[str]) -> None:
    for job_id in ids:
        job = ended(http, job_id)
        assert job["status"] == "succeeded", job


def throughput(jobs: int, workers: int) -> None:
    """The same jobs by an embedded service and by Celery: from the last submission to the last end."""
    limits = {"PIPELINE_MAX_QUEUED": "5000", "PIPELINE_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "embedded"
        folder.mkdir()
        with Service(folder, PIPELINE_WORKERS=str(workers), **limits) as service:
            with closing(service.client()) as http:
                print(f"embedded     {jobs} jobs in {_pass(http, folder, jobs):.1f} s after the last came")
            service.stop()
        folder = Path(name) / "celery"
        folder.mkdir()
        shared = {"STORAGE": str(folder / "volume"), "PIPELINE_WORKERS": str(workers), **limits}
        with cluster(folder, durable=True, **shared) as machines:
            service = machines.service("api")
            machines.worker("worker")
            with closing(service.client()) as http:
                print(f"celery       {jobs} jobs in {_pass(http, folder, jobs):.1f} s after the last came")


def storm(jobs: int, workers: int, seed: int, every: int, s3: bool) -> None:
    """Let everything die while jobs run."""
    with tempfile.TemporaryDirectory() as name, chaos(Path(name), workers, seed, s3=s3) as made:
        report = made.run(jobs, Path(name), every)
    print(told(report))
    print("every job ended exactly once" if flawless(report, jobs) else "NOT every job ended exactly once")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["claims", "throughput", "chaos"])
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=10, help="jobs from one blow to the next")
    parser.add_argument("--volume", action="store_true", help="results on a volume, not on S3")
    given = parser.parse_args()
    chosen: dict[str, Callable[[], None]] = {
        "claims": lambda: claims(given.jobs or 2000, given.clients),
        "throughput": lambda: throughput(given.jobs or 60, given.workers or 2),
        "chaos": lambda: storm(
            given.jobs or 1000, given.workers or 4, given.seed, given.every, not given.volume
        ),
    }
    chosen[given.what]()


if __name__ == "__main__":
    main()
