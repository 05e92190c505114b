"""A cluster whose parts die, one after another, while jobs run: what is lost, and what is done twice?"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2 as httpx
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from api.database import open_database
from api.jobs.model import JobStatus
from api.storage.base import Storage
from api.storage.disk import DiskStorage
from api.storage.s3 import S3Storage
from pipeline.manifest import read_manifest
from tests.audio_files import music, write_wav
from tests.cluster import Cluster, WorkerMachine, cluster, stop_process
from tests.s3_server import BUCKET, s3_server
from tests.service import Service
from tests.tcp_proxy import TcpProxy

_TINY_S = 0.2
_PATIENCE_S = 3600.0


@dataclass
class Report:
    """What came of it.

    Attributes:
        jobs: how many were accepted.
        statuses: how many ended how.
        ended_twice: jobs with more than one event that ends a job.
        published: results in the storage.
        incomplete: results that are not what their manifest says.
        blows: what was done, and how often.
        taken_over: attempts that followed one whose worker died.
        recovery_s: from a worker's death to the next beginning of its job.
        seconds: from the first submission to the last end.
    """

    jobs: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    ended_twice: int = 0
    published: int = 0
    incomplete: int = 0
    blows: Counter[str] = field(default_factory=Counter)
    taken_over: int = 0
    recovery_s: list[float] = field(default_factory=list)
    seconds: float = 0.0


class Chaos:
    """A cluster behind lines that can be cut. Use `chaos`.

    Args:
        machines: started.
        service: takes the jobs.
        workers: run them.
        lines: of the workers to Redis, to PostgreSQL and, where there is one, to S3.
        storage: of recordings and results.
        seed: of what is hit, and when.
    """

    def __init__(
        self,
        machines: Cluster,
        service: Service,
        workers: list[WorkerMachine],
        lines: dict[str, TcpProxy],
        storage: Storage,
        seed: int,
    ) -> None:
        self.machines, self.service, self.workers, self.lines = machines, service, workers, lines
        self.storage = storage
        self.random = random.Random(seed)
        self.report = Report()
        self._killed: list[tuple[str, float]] = []
        self._engine = open_database(machines.database)

    def submit(self, count: int, folder: Path) -> list[str]:
        """Submit so many tiny jobs, each of its own recording, as a client does that does not give up."""
        ids = []
        path = folder / "tiny.wav"
        with self.service.client() as http:
            for n in range(count):
                write_wav(path, music(_TINY_S) * (1.0 - n / (2.0 * count)))
                ids.append(self._submitted(http, path, n))
        self.report.jobs = len(set(ids))
        return ids

    def _submitted(self, http: httpx.Client, path: Path, n: int) -> str:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                with path.open("rb") as file:
                    answer = http.post(
                        "/process",
                        files={"file": ("tiny.wav", file)},
                        data={"estimators": "none", "formats": "wav", "stems": "drums"},
                        headers={"Idempotency-Key": f"job-{n}"},
                    )
                if answer.status_code in (200, 202):
                    return str(answer.json()["id"])
                assert answer.status_code in (409, 500, 503), answer.text
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def blow(self) -> None:
        """Hit one part."""
        chances = {"child": 6, "machine": 2, "redis": 1, "empty redis": 1, "postgres": 1}
        chances |= {f"{name} line": 2 for name in self.lines}
        (kind,) = self.random.choices(list(chances), list(chances.values()))
        self.report.blows[kind] += 1
        worker = self.random.choice(self.workers)
        if kind == "child":
            for child in worker.children()[:1]:
                self._note_death(child)
                stop_process(child)
        elif kind == "machine":
            for child in worker.children():
                self._note_death(child)
            worker.kill()
            worker.start()
        elif kind in ("redis", "empty redis"):
            self.machines.redis.kill()
            if kind == "empty redis":
                self.machines.redis.forget()
            self.machines.redis.start()
        elif kind == "postgres":
            self.machines.server.kill()
            self.machines.server.start()
        else:
            line = self.lines[kind.partition(" ")[0]]
            line.down()
            time.sleep(self.random.uniform(0.1, 3.0))
            line.up()

    def _note_death(self, pid: int) -> None:
        query = text("SELECT job_id FROM workers WHERE pid = :pid AND job_id IS NOT NULL")
        try:
            with self._engine.connect() as connection:
                for job_id in connection.scalars(query, {"pid": pid}):
                    now = connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())"))
                    self._killed.append((job_id, float(now or 0.0)))
        except SQLAlchemyError:
            pass

    def unfinished(self) -> int | None:
        """How many jobs have not ended; None while the database does not say."""
        return self._count("status IN ('queued', 'running')")

    def ended(self) -> int | None:
        """How many jobs have ended; None while the database does not say."""
        return self._count("status NOT IN ('queued', 'running')")

    def _count(self, condition: str) -> int | None:
        query = text(f"SELECT count(*) FROM jobs WHERE {condition}")  # noqa: S608
        try:
            with self._engine.connect() as connection:
                return int(connection.scalar(query) or 0)
        except SQLAlchemyError:
            return None

    def judge(self, ids: list[str], folder: Path) -> Report:
        """Look at every job, its events and its result."""
        report, ends = self.report, ("succeeded", "failed", "cancelled")
        with self._engine.connect() as connection:
            rows = connection.execute(text("SELECT id, status, attempt, deaths FROM jobs")).all()
            events = connection.execute(text("SELECT job_id, kind, at FROM job_events ORDER BY id")).all()
        known = {row.id: row for row in rows}
        report.statuses = dict(Counter(known[job_id].status if job_id in known else "lost" for job_id in ids))
        report.taken_over = sum(row.deaths for row in rows)
        ended = Counter(event.job_id for event in events if event.kind in ends)
        report.ended_twice = sum(number > 1 for number in ended.values())
        for job_id, at in self._killed:
            begun = [event.at for event in events if event.job_id == job_id and event.kind == "running"]
            if later := [moment for moment in begun if moment > at]:
                report.recovery_s.append(later[0] - at)
        for job_id in self.storage.below("outputs/"):
            report.published += 1
            self.storage.fetch(f"outputs/{job_id}/manifest.json", folder / "judged.json")
            for artifact in read_manifest(folder / "judged.json").artifacts:
                key = f"outputs/{job_id}/{artifact.sha256[:16]}/{artifact.path}"
                report.incomplete += self.storage.size(key) != artifact.bytes
        return report

    def run(self, count: int, folder: Path, every: int) -> Report:
        """Submit jobs, hit parts meanwhile, and wait until all have ended.

        Args:
            count: of jobs.
            folder: for recordings.
            every: from one blow to the next so many jobs end, one more or less, however fast that goes.
        """
        begun = time.monotonic()
        # What is started again here dies with the thread that did it: that must be this one.
        with ThreadPoolExecutor(1) as pool:
            submission = pool.submit(self.submit, count, folder)
            due, deadline = 1, time.monotonic() + _PATIENCE_S
            while not submission.done() or self.unfinished() != 0:
                assert time.monotonic() < deadline, f"{self.unfinished()} jobs never ended"
                time.sleep(self.random.uniform(0.1, 1.0))
                if (self.ended() or 0) >= due and self.unfinished():
                    self.blow()
                    due += max(every + self.random.randint(-1, 1), 1)
            ids = submission.result()
        self.report.seconds = time.monotonic() - begun
        return self.judge(ids, folder)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()


@contextmanager
def chaos(folder: Path, workers: int, seed: int = 1, *, s3: bool = False) -> Iterator[Chaos]:
    """A cluster on a volume, or on S3: an API replica and so many machines of workers, which fear nothing."""
    limits = {
        "PIPELINE_MAX_QUEUED": "5000",
        "PIPELINE_MAX_ATTEMPTS": "50",
        "PIPELINE_RATE_REFUSED": "off",
        "PIPELINE_POLL_S": "2",
        "PIPELINE_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "STORAGE": f"s3://{BUCKET}" if s3 else str(folder / "volume"),
        "PIPELINE_SEPARATION_CACHE_MB": "0",
    }
    with ExitStack() as stack:
        endpoint = stack.enter_context(s3_server()) if s3 else None
        if endpoint:
            limits["PIPELINE_STORAGE_ENDPOINT"] = endpoint
        machines = stack.enter_context(cluster(folder, durable=True, **limits))
        lines = {
            "redis": stack.enter_context(TcpProxy(machines.redis.port)),
            "postgres": stack.enter_context(TcpProxy(machines.server.port)),
        }
        through = {
            "DATABASE_URL": machines.server.url("pipeline", lines["postgres"].port),
            "PIPELINE_BROKER_URL": f"redis://127.0.0.1:{lines['redis'].port}",
        }
        storage: Storage = DiskStorage(folder / "volume")
        if endpoint:
            lines["s3"] = stack.enter_context(TcpProxy(int(endpoint.rpartition(":")[2])))
            through["PIPELINE_STORAGE_ENDPOINT"] = lines["s3"].url
            storage = S3Storage(BUCKET, endpoint=endpoint)
        service = machines.service("api")
        started = [machines.worker(f"worker{n}", **through) for n in range(workers)]
        made = Chaos(machines, service, started, lines, storage, seed)
        stack.callback(made.close)
        yield made


def told(report: Report) -> str:
    """A report for people."""
    slowest = max(report.recovery_s, default=0.0)
    return "\n".join(
        [
            f"{report.jobs} jobs in {report.seconds:.0f} s: {report.statuses}",
            f"ended twice: {report.ended_twice}; results: {report.published}, damaged: {report.incomplete}",
            f"blows: {dict(report.blows)}; attempts whose worker died: {report.taken_over}",
            f"from a death to the next attempt: {len(report.recovery_s)} seen, at most {slowest:.1f} s",
        ]
    )


def flawless(report: Report, count: int) -> bool:
    """Whether every job ended exactly once, nothing lost and nothing twice."""
    good = report.statuses == {JobStatus.SUCCEEDED.value: count} and report.published == count
    return good and report.jobs == count and report.ended_twice == report.incomplete == 0
