"""Words in the database are encrypted, and found all the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, MetaData, create_engine, select

from api.audit import Audit
from api.encryption.data_keys import open_keys
from api.encryption.errors import MasterKeyWrong
from api.encryption.fields import FieldCipher
from api.encryption.master_keys import MasterKeys
from api.jobs.model import Job, JobError, JobStatus
from api.jobs.sql_store import SqlJobStore
from api.jobs.store import JobFilter
from api.keeping.snapshot import snapshot
from api.moving import _digest
from api.security.secret import ServerSecret
from api.transactions import reading
from tests.databases import DATABASES, again
from tests.encryption_support import NEW, OLD

NAME, SAID, SUBJECT = "Ünheard song.wav", "words nobody else sings", "patient 4711"
SECRET = ServerSecret(b"of the tests, and long enough for them")


@pytest.fixture(params=sorted(DATABASES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with DATABASES[request.param](tmp_path) as engine:
        yield engine


def add(engine: Engine, job_id: str = "one", filename: str = NAME) -> SqlJobStore:
    store = SqlJobStore(engine)
    store.add(
        Job(job_id, "owner", JobStatus.QUEUED, filename, f"{job_id}/input", "0" * 64, 1, datetime.now(UTC),
            metadata={"lyric": SAID}, subject=SUBJECT, webhook_url="https://example.org/hook")
    )  # fmt: skip
    return store


def all_rows(engine: Engine) -> str:
    """Everything that the tables hold, as it is stored."""
    raw, tables = create_engine(engine.url), MetaData()
    tables.reflect(raw)
    with raw.connect() as connection:
        found = [str(row) for table in tables.tables.values() for row in connection.execute(select(table))]
    raw.dispose()
    return "\n".join(found)


def fail(store: SqlJobStore) -> None:
    claim = store.claim("worker", 30.0)
    assert claim is not None
    assert store.fail(claim, JobError("input_not_audio", f"'{NAME}' is no audio.", "Convert it."))


def test_no_word_of_a_job_is_to_be_seen_and_every_process_reads_all(engine: Engine) -> None:
    assert open_keys(engine, MasterKeys([OLD])) is not None
    store = add(engine)
    audit = Audit(engine, SECRET)
    audit.record("process", user="owner", status="accepted", input=NAME, output="queued", job_id="one")
    fail(store)
    held = all_rows(engine)
    assert not [word for word in (NAME, NAME.lower(), "nheard", SAID, SUBJECT) if word in held]

    other = again(engine)
    open_keys(other, MasterKeys([NEW, OLD]))
    job = SqlJobStore(other).get("one")
    assert job is not None and job.error is not None
    assert (job.filename, job.metadata, job.subject) == (NAME, {"lyric": SAID}, SUBJECT)
    assert NAME in job.error.message
    assert NAME in json.dumps(
        [event.data for event in SqlJobStore(other).events("one", 0)], ensure_ascii=False
    )
    (entry,) = Audit(other, SECRET).entries()
    assert entry.input == NAME and Audit(other, SECRET).verify().broken_at is None
    other.dispose()


def test_jobs_are_found_by_subject_and_by_a_part_of_their_name(engine: Engine) -> None:
    before = add(engine, "before")  # there was encryption.
    open_keys(engine, MasterKeys([OLD]))
    for number in range(5):
        add(engine, f"job-{number}", f"song {number}.wav")
    store = add(engine, "one", "Another.flac")
    found = store.find(JobFilter(subject=SUBJECT))
    assert len(found) == 7 and before.find(JobFilter(subject="patient")) == []
    assert [job.id for job in store.find(JobFilter(text="SONG"), limit=3)] == ["job-4", "job-3", "job-2"]
    assert [job.id for job in store.find(JobFilter(text="song"), after="job-2")] == [
        "job-1",
        "job-0",
        "before",
    ]
    assert [job.id for job in store.find(JobFilter(text="other"))] == ["one"]
    assert store.find(JobFilter(text="nothing")) == []


def test_a_copy_holds_no_word_either_and_is_read_with_the_key(engine: Engine, tmp_path: Path) -> None:
    open_keys(engine, MasterKeys([OLD]))
    add(engine)
    snapshot(engine, tmp_path / "copy.db")
    copy = again_sqlite(tmp_path / "copy.db")
    assert not [word for word in (NAME, SAID, SUBJECT) if word in all_rows(copy)]
    open_keys(copy, MasterKeys([OLD]))
    job = SqlJobStore(copy).get("one")
    assert job is not None and job.filename == NAME and job.metadata == {"lyric": SAID}
    copy.dispose()


def again_sqlite(path: Path) -> Engine:
    from api.database import open_database

    return open_database(f"sqlite:///{path}", create=False)


def test_who_copies_rows_without_a_key_copies_them_as_they_are(engine: Engine) -> None:
    from api.jobs.tables import jobs

    open_keys(engine, MasterKeys([OLD]))
    add(engine)
    raw = again(engine)
    with reading(raw) as connection:
        row = connection.execute(select(jobs)).one()
        assert row.filename.startswith("\x02enc1:") and _digest(connection, jobs)
    raw.dispose()


def test_two_databases_share_no_key_and_a_word_stands_in_its_column_alone() -> None:
    one, two = FieldCipher(b"\1" * 32), FieldCipher(b"\2" * 32)
    sealed = one.encrypt("jobs.filename", NAME, found=False)
    assert sealed != one.encrypt("jobs.filename", NAME, found=False)
    assert one.encrypt("jobs.subject", NAME, found=True) == one.encrypt("jobs.subject", NAME, found=True)
    for cipher, column in ((two, "jobs.filename"), (one, "jobs.subject")):
        with pytest.raises(MasterKeyWrong):
            cipher.decrypt(column, sealed, found=False)


@given(st.text(), st.booleans())
def test_every_text_comes_back(said: str, found: bool) -> None:
    cipher = FieldCipher(bytes(32))
    assert cipher.decrypt("c", cipher.encrypt("c", said, found=found), found=found) == said
    assert not said or said not in cipher.encrypt("c", said, found=found)[6:] or len(said) < 4
