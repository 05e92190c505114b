"""Jobs over PostgreSQL and Redis beside jobs on SQLite, and what dying parts cost.

    python -m bench.distributed claims [--jobs 2000] [--clients 8]
    python -m bench.distributed throughput [--jobs 60] [--workers 2]
    python -m bench.distributed recovery [--jobs 10]
    python -m bench.distributed split [--workers 2] [--seconds 90]
    python -m bench.distributed chaos [--jobs 1000] [--workers 4] [--seed 1] [--every 10] [--volume]

`claims`: how many jobs a second are accepted, claimed, kept alive and ended by parallel clients, without any
audio. `throughput`: tiny real jobs by an embedded service, and by Celery on as many processes. `recovery`:
how long after the death of a worker its job runs again, on two machines and by the usual settings. `split`:
one recording by htdemucs on one worker, and in stretches on several: seconds, and whether the stems are the
same, bit for bit. `chaos`: tiny real jobs on S3, or a volume, while worker processes and machines, Redis
(with what it kept, and without), PostgreSQL and the network between them die at random; says whether every
job ended exactly once.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx2 as httpx
from sqlalchemy import Engine, text

from api.database import open_database
from api.jobs.sql_store import SqlJobStore
from api.migrate import upgrade
from api.settings import Settings
from tests.audio_files import music, write_wav
from tests.chaos import chaos, flawless, told
from tests.cluster import WorkerMachine, cluster, stop_process
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


def recovery(rounds: int) -> None:
    """Kill a worker's process, or its whole machine, in the middle of a job; when does it run again?"""
    usual = {"PIPELINE_LEASE_S": str(Settings.model_fields["lease_s"].default), "PIPELINE_THREADS": "1"}
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        long = write_wav(folder / "long.wav", music(900.0))
        with cluster(folder, durable=True, STORAGE=str(folder / "volume"), **usual) as machines:
            service = machines.service("api")
            workers = [machines.worker(f"worker{n}") for n in range(2)]
            engine = open_database(machines.database)
            with closing(service.client()) as http:
                taken: dict[str, list[float]] = {"process": [], "machine": []}
                for n in range(rounds):
                    kind = ("process", "machine")[n % 2]
                    with long.open("rb") as file:
                        fields = {"estimators": "none", "metadata": json.dumps({"round": n})}
                        answer = http.post("/process", files={"file": ("long.wav", file)}, data=fields)
                    job_id = str(answer.raise_for_status().json()["id"])
                    _begun(engine, job_id, 1)
                    time.sleep(chance.uniform(0.5, 4.0))  # Anywhere between two heartbeats.
                    worker = next(w for w in workers if _runs_on(engine, job_id, w))
                    dead_at = time.time()
                    if kind == "machine":
                        worker.kill()
                    else:
                        stop_process(worker.children()[0])
                    taken[kind].append(_begun(engine, job_id, 2) - dead_at)
                    if kind == "machine":
                        worker.start()
                    http.post(f"/jobs/{job_id}/cancel").raise_for_status()
                    ended(http, job_id)
            engine.dispose()
    for kind, seconds in taken.items():
        told_s = ", ".join(f"{s:.1f}" for s in sorted(seconds))
        print(f"{kind:<8} its job runs again after {told_s} s; at most {max(seconds):.1f} s")


def split(seconds: float, workers: int) -> None:
    """The same recording by one worker and by several, one thread each."""
    minutes = seconds / 60 / (2 * workers)
    usual = {
        "PIPELINE_MODEL": "htdemucs",
        "PIPELINE_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "PIPELINE_SEPARATION_CACHE_MB": "0",
        "PIPELINE_POLL_S": "2",
        "PIPELINE_LEASE_S": str(Settings.model_fields["lease_s"].default),
    }
    found = []
    for number in (1, workers):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            song = write_wav(folder / "song.wav", music(seconds))
            divided = {"PIPELINE_SPLIT_MINUTES": str(minutes if number > 1 else 0.0)}
            with cluster(folder, STORAGE=str(folder / "volume"), **usual, **divided) as machines:
                service = machines.service("api")
                for n in range(number):
                    machines.worker(f"worker{n}")
                with closing(service.client()) as http:
                    while len(http.get("/workers").json()) < number:
                        time.sleep(1.0)
                    begun = time.perf_counter()
                    fields = {"estimators": "none", "formats": "wav"}
                    with song.open("rb") as file:
                        answer = http.post("/process", files={"file": ("song.wav", file)}, data=fields)
                    job = ended(http, str(answer.raise_for_status().json()["id"]), 3600)
                    took_s = time.perf_counter() - begun
                    made = http.get(f"/jobs/{job['id']}/manifest").json()
                (separate_s,) = (one["seconds"] for one in made["stages"] if one["name"] == "separate")
                stretches = made["separation"]["stretches"]
                print(
                    f"{number} workers, {stretches} stretches: {took_s:.1f} s, separation {separate_s:.1f} s"
                )
                for log in sorted(folder.glob("worker*/said.log")):
                    print(f"  {log.parent.name} helped {log.read_text().count('helping_begun')} times")
                found.append({one["name"]: one["sha256"] for one in made["artifacts"]})
    print("the stems are the same, bit for bit" if found[0] == found[1] else "the stems DIFFER")


def _begun(engine: Engine, job_id: str, times: int) -> float:
    """Wait until a job was begun so often, and say when that was, in seconds since 1970."""
    query = text("SELECT at FROM job_events WHERE job_id = :id AND kind = 'running' ORDER BY id")
    while True:
        with engine.connect() as connection:
            moments = list(connection.scalars(query, {"id": job_id}))
        if len(moments) >= times:
            return float(moments[times - 1])
        time.sleep(0.05)


def _runs_on(engine: Engine, job_id: str, machine: WorkerMachine) -> bool:
    with engine.connect() as connection:
        worker = connection.scalar(text("SELECT worker FROM jobs WHERE id = :id"), {"id": job_id})
    return any(f"-{pid}-" in str(worker) for pid in machine.children())


def storm(jobs: int, workers: int, seed: int, every: int, s3: bool) -> None:
    """Let everything die while jobs run."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # It writes a line for each request to S3.
    with tempfile.TemporaryDirectory() as name, chaos(Path(name), workers, seed, s3=s3) as made:
        report = made.run(jobs, Path(name), every)
    print(told(report))
    print("every job ended exactly once" if flawless(report, jobs) else "NOT every job ended exactly once")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["claims", "throughput", "recovery", "split", "chaos"])
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=10, help="jobs from one blow to the next")
    parser.add_argument("--seconds", type=float, default=90.0, help="of the recording that is split")
    parser.add_argument("--volume", action="store_true", help="results on a volume, not on S3")
    given = parser.parse_args()
    chosen: dict[str, Callable[[], None]] = {
        "claims": lambda: claims(given.jobs or 2000, given.clients),
        "throughput": lambda: throughput(given.jobs or 60, given.workers or 2),
        "recovery": lambda: recovery(given.jobs or 10),
        "split": lambda: split(given.seconds, given.workers or 2),
        "chaos": lambda: storm(
            given.jobs or 1000, given.workers or 4, given.seed, given.every, not given.volume
        ),
    }
    chosen[given.what]()


if __name__ == "__main__":
    main()
