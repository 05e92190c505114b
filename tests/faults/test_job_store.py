"""The job store under contention, sudden death, and disks that are full, read-only, failing or damaged."""

from __future__ import annotations

import errno
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import event

from api.database import open_database
from api.errors import DatabaseUnavailable
from api.jobs.model import JobStatus
from api.jobs.sql_store import SqlJobStore
from api.jobs.store import JobFilter, JobStore
from api.migrate import upgrade
from pipeline.errors import DiskFull, OutputUnwritable
from tests.faults.small_disk import on_a_small_disk
from tests.job_stores import new

ROOT = Path(__file__).resolve().parents[2]
PROCESSES = 4
CLAIMS = 2000

START = """
import sys, uuid
from datetime import UTC, datetime
from pathlib import Path
from api.database import open_database
from api.jobs.model import Job, JobStatus
from api.jobs.sql_store import SqlJobStore
from pipeline.errors import PipelineError

def new(owner):
    return Job(str(uuid.uuid4()), owner, JobStatus.QUEUED, "song.mp3", "x", "0" * 64, 1, datetime.now(UTC))

def say(*words):
    print(*words, flush=True)

store = SqlJobStore(open_database(sys.argv[1]))
store.counts()
say("ready")
sys.stdin.readline()
"""
CLAIM_ALL = """
while claim := store.claim("w" + sys.argv[2], 600.0):
    say(claim.job.id, claim.fence)
"""
ADD_AND_CLAIM = """
while True:
    say("added", store.add(new(sys.argv[2])).id)
    if claim := store.claim("w" + sys.argv[2], 600.0):
        say("claimed", claim.job.id)
        store.beat(claim, 600.0, progress=0.5, stage="separate")
        if store.succeed(claim):
            say("succeeded", claim.job.id)
"""
ADD_ONE = """
try:
    say("added", store.add(new("anna")).id)
except PipelineError as exc:
    say("refused", exc.code)
"""


def database(folder: Path) -> str:
    return f"sqlite:///{folder / 'jobs.db'}"


@contextmanager
def opened(folder: Path, wait_ms: int = 30_000) -> Iterator[SqlJobStore]:
    engine = open_database(database(folder))
    event.listen(engine, "connect", lambda raw, _: raw.execute(f"PRAGMA busy_timeout={wait_ms}").close())
    try:
        yield SqlJobStore(engine)
    finally:
        engine.dispose()


def made(folder: Path, jobs: int = 0) -> Path:
    engine = open_database(database(folder))
    upgrade(engine)
    store = SqlJobStore(engine)
    for n in range(jobs):
        store.add(new(f"owner {n % 3}"))
    engine.dispose()
    return folder


def start(folder: Path, code: str, name: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", START + code, database(folder), name],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def until_succeeded(process: subprocess.Popen[str]) -> list[str]:
    """What a process says up to its first job that is done."""
    assert process.stdout is not None
    said = [process.stdout.readline()]
    while said[-1] and not said[-1].startswith("succeeded"):
        said.append(process.stdout.readline())
    return said


def rest(process: subprocess.Popen[str]) -> list[str]:
    """What else a process says until it ends."""
    assert process.stdout is not None and process.stdin is not None
    with process, process.stdin, process.stdout as stdout:
        return stdout.readlines()


def assert_intact(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "jobs.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


# Many processes


@pytest.mark.long
def test_four_processes_claim_two_thousand_jobs_each_of_them_once(tmp_path: Path) -> None:
    made(tmp_path)
    with opened(tmp_path) as store:
        ids = {store.add(new(f"owner {n % 7}")).id for n in range(CLAIMS)}
        processes = [start(tmp_path, CLAIM_ALL, str(n)) for n in range(PROCESSES)]
        for process in processes:
            go(process)
        claimed = [process.communicate()[0].split() for process in processes]
        assert [process.returncode for process in processes] == [0] * PROCESSES
        everything = [job_id for words in claimed for job_id in words[::2]]
        assert len(everything) == len(ids)
        assert set(everything) == ids
        assert {fence for words in claimed for fence in words[1::2]} == {"1"}
        assert all(claimed), "a process got nothing: they did not compete"
        assert store.counts()[JobStatus.RUNNING] == CLAIMS
    assert_intact(tmp_path)


# Sudden death


@pytest.mark.parametrize("seed", range(5))
def test_what_was_acknowledged_survives_kill_9(seed: int, tmp_path: Path) -> None:
    made(tmp_path)
    processes = [start(tmp_path, ADD_AND_CLAIM, str(n)) for n in range(3)]
    for process in processes:
        go(process)
    lines = [line for process in processes for line in until_succeeded(process)]
    time.sleep(random.Random(seed).uniform(0.05, 0.6))  # The instant of the kill, not a wait for anything.
    for process in processes:
        process.kill()
    # The last line may be cut off: then nobody was told.
    lines += [line for process in processes for line in rest(process)]
    told = [line.split() for line in lines if line.endswith("\n")]
    assert_intact(tmp_path)
    with opened(tmp_path) as store:
        jobs = {job.id: job for job in store.find(JobFilter(), limit=100_000)}
        at_least = {"added": set(JobStatus), "claimed": {JobStatus.RUNNING, JobStatus.SUCCEEDED}}
        at_least["succeeded"] = {JobStatus.SUCCEEDED}
        assert not [(what, job_id) for what, job_id in told if jobs[job_id].status not in at_least[what]]
        assert {what for what, _ in told} == {"added", "claimed", "succeeded"}
        claimed = [job_id for what, job_id in told if what == "claimed"]
        assert len(claimed) == len(set(claimed))
        for job in jobs.values():
            kinds = [e.kind for e in store.events(job.id, 0) if e.kind != "progress"]
            expected = ["queued", "running", "succeeded"]
            known = [JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SUCCEEDED].index(job.status)
            assert kinds == expected[: known + 1], "a change without its event, or the other way round"
        store.add(new())
        store.check()


@contextmanager
def faulty(process: subprocess.Popen[str], folder: Path, call: str, fault: str) -> Iterator[None]:
    """A process one of whose system calls does what a broken machine would do."""
    argv = ["strace", "-f", "-o", folder / "trace", "-e", f"trace={call}", "-e", f"inject={call}:{fault}"]
    tracer = subprocess.Popen([*argv, "-p", str(process.pid)], stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    assert "attached" in tracer.stderr.readline()
    try:
        yield
    finally:
        process.wait()
        tracer.communicate()


@pytest.mark.parametrize(
    ("call", "nth"), [("pwrite64", n) for n in (1, 2, 3, 5, 8)] + [("fdatasync", n) for n in (1, 2)]
)
def test_a_kill_at_each_write_of_a_commit_leaves_all_or_nothing(call: str, nth: int, tmp_path: Path) -> None:
    made(tmp_path, jobs=3)
    process = start(tmp_path, ADD_ONE, "x")
    with faulty(process, tmp_path, call, f"signal=SIGKILL:when={nth}"):
        go(process)
        said = process.communicate()[0].split()
    assert process.returncode == -signal.SIGKILL
    assert_intact(tmp_path)
    with opened(tmp_path) as store:
        count = store.counts()[JobStatus.QUEUED]
        assert count in {3, 4}
        assert not (said and count == 3), "acknowledged and lost"
        store.check()


@pytest.mark.parametrize(("number", "code"), [("ENOSPC", "disk_full"), ("EIO", "database_unavailable")])
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
def test_a_disk_that_fails_while_a_job_is_accepted_is_said(
    call: str, number: str, code: str, tmp_path: Path
) -> None:
    made(tmp_path, jobs=3)
    process = start(tmp_path, ADD_ONE, "x")
    with faulty(process, tmp_path, call, f"error={number}:when=1+"):
        go(process)
        what, said = process.communicate()[0].split()
    # SQLite does not tell why a sync failed: only that it did.
    assert (what, said) == ("refused", code if call == "pwrite64" else "database_unavailable")
    assert_intact(tmp_path)
    with opened(tmp_path) as store:
        assert store.counts()[JobStatus.QUEUED] in {3, 4}  # a job that was refused may be there, never half


# Disks


def test_a_full_disk_is_said_loses_nothing_and_heals(tmp_path: Path) -> None:
    def work(disk: Path) -> None:
        made(disk, jobs=3)
        with opened(disk) as store:
            (disk / "ballast").write_bytes(bytes(1 << 18))
            accepted = 3
            with pytest.raises(DiskFull, match="disk"):
                while accepted < 10_000:
                    store.add(new())
                    accepted += 1
            assert store.counts()[JobStatus.QUEUED] == accepted, "reading still works"
            (disk / "ballast").unlink()
            store.add(new())
            assert store.counts()[JobStatus.QUEUED] == accepted + 1
            store.check()
        assert_intact(disk)

    on_a_small_disk(tmp_path / "disk", "2m", work)


def test_a_full_disk_fails_the_check(tmp_path: Path) -> None:
    def work(disk: Path) -> None:
        made(disk, jobs=3)
        with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        with opened(disk) as store, pytest.raises(OSError, match="full") as said:
            store.check()
        assert said.value.errno == errno.ENOSPC

    on_a_small_disk(tmp_path / "disk", "1m", work)


def test_a_new_database_on_a_full_disk_is_refused_in_plain_words(tmp_path: Path) -> None:
    def work(disk: Path) -> None:
        (disk / "ballast").write_bytes(bytes(60 << 10))
        engine = open_database(database(disk))
        with pytest.raises(DiskFull):
            upgrade(engine)
        engine.dispose()

    on_a_small_disk(tmp_path / "disk", "64k", work)


WRITES: dict[str, Callable[[JobStore], object]] = {
    "add": lambda store: store.add(new()),
    "claim": lambda store: store.claim("w", 30.0),
    "cancel": lambda store: store.request_cancel("x"),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_read_only_disk_is_said(tmp_path: Path, write: str) -> None:
    def work(disk: Path) -> None:
        made(disk, jobs=1)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with opened(disk) as store:
            with pytest.raises(OutputUnwritable, match="cannot be opened or written"):
                WRITES[write](store)
            with pytest.raises(OSError, match="cannot be opened or written"):
                store.check()

    on_a_small_disk(tmp_path / "disk", "8m", work)


def test_a_folder_in_place_of_the_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").mkdir()
    with opened(tmp_path) as store, pytest.raises(OutputUnwritable):
        store.counts()


@pytest.mark.parametrize("write", WRITES)
def test_a_database_that_stays_locked_is_said_and_reading_goes_on(tmp_path: Path, write: str) -> None:
    made(tmp_path, jobs=2)
    with opened(tmp_path, wait_ms=20) as store, closing(sqlite3.connect(tmp_path / "jobs.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable, match="busy") as said:
            WRITES[write](store)
        assert said.value.retryable and said.value.retry_after_s
        with pytest.raises(OSError, match="busy"):
            store.check()
        assert store.counts()[JobStatus.QUEUED] == 2
        other.rollback()
        WRITES[write](store)
        store.check()


def test_a_worker_finds_nothing_to_do_without_a_lock(tmp_path: Path) -> None:
    made(tmp_path)
    with opened(tmp_path, wait_ms=20) as store, closing(sqlite3.connect(tmp_path / "jobs.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        assert store.claim("w", 30.0) is None


# Damage


@pytest.mark.parametrize("page", ["first", "middle", "last"])
def test_a_damaged_page_fails_the_check(tmp_path: Path, page: str) -> None:
    made(tmp_path, jobs=50)
    with (tmp_path / "jobs.db").open("r+b") as file:
        pages = file.seek(0, 2) // 4096
        file.seek({"first": 0, "middle": pages // 2, "last": pages - 1}[page] * 4096)
        file.write(random.Random(1).randbytes(4096))
    with opened(tmp_path) as store, pytest.raises(OSError, match="damaged") as said:
        store.check()
    assert said.value.errno == errno.EIO


def test_a_database_that_is_cut_short_fails_the_check(tmp_path: Path) -> None:
    made(tmp_path, jobs=50)
    with (tmp_path / "jobs.db").open("r+b") as file:
        file.truncate(file.seek(0, 2) // 2 // 4096 * 4096)
    with opened(tmp_path) as store, pytest.raises(OSError, match="damaged"):
        store.check()


def test_another_file_in_place_of_the_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_bytes(b"RIFF" + bytes(8192))
    with opened(tmp_path) as store:
        with pytest.raises(DatabaseUnavailable, match="damaged"):
            store.counts()
        with pytest.raises(OSError, match="damaged"):
            store.check()
