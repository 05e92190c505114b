from __future__ import annotations

import csv
import io
import json
import logging
import multiprocessing
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from api.audit import FIELDS, Audit, AuditEntry, Verdict
from api.cli_audit import ExportFormat, write_entries
from api.database import open_database
from api.errors import InvalidRequest
from api.security.secret import ServerSecret
from tests.databases import DATABASES
from tests.guarded_app import open_tables, run_together

SECRET = ServerSecret(b"s" * 32)


@pytest.fixture(params=DATABASES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with DATABASES[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
def audit(engine: Engine) -> Audit:
    return Audit(engine, SECRET)


def fill(audit: Audit, count: int = 5) -> list[AuditEntry]:
    return [audit.record("process", user="alice", status="accepted", input=f"{n}.wav") for n in range(count)]


def unguard(connection: Connection) -> None:
    """Take the guard away that the database keeps."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("ALTER TABLE audit_log DISABLE TRIGGER ALL"))
    else:
        for change in ("update", "delete"):
            connection.execute(text(f"DROP TRIGGER IF EXISTS audit_log_no_{change}"))


def tamper(engine: Engine, *statements: str) -> None:
    """Change the log as somebody would who has the database file."""
    with engine.begin() as connection:
        unguard(connection)
        for statement in statements:
            connection.execute(text(statement))


def test_an_entry_holds_who_did_what_when_and_how_it_ended(engine: Engine) -> None:
    at = datetime(2026, 11, 23, 10, 30, 45, 123456, tzinfo=UTC)
    Audit(engine, SECRET, lambda: at).record(
        "process", user="alice", key_id="k", input="song.wav", output="job", status="accepted",
        job_id="j", request_id="r", address="192.0.2.1",
    )  # fmt: skip
    (entry,) = Audit(engine, SECRET).entries()
    assert (entry.seq, entry.at, entry.user, entry.action) == (
        1,
        "2026-11-23T10:30:45.123456+00:00",
        "alice",
        "process",
    )
    assert (entry.input, entry.output, entry.status) == ("song.wav", "job", "accepted")
    assert (entry.job_id, entry.request_id, entry.address, entry.key_id) == ("j", "r", "192.0.2.1", "k")


def test_an_untouched_log_is_intact(audit: Audit) -> None:
    assert audit.verify() == Verdict(0, f"0:{'0' * 64}")
    entries = fill(audit, 1203)  # more than a page
    assert audit.verify() == Verdict(1203, f"1203:{entries[-1].hash}")


@pytest.mark.parametrize("field", [name for name in FIELDS if name not in {"seq", "hash", "previous"}])
def test_a_changed_field_is_found(audit: Audit, engine: Engine, field: str) -> None:
    fill(audit)
    tamper(engine, f"UPDATE audit_log SET \"{field}\" = 'mallory' WHERE seq = 3")  # noqa: S608
    verdict = audit.verify()
    assert (verdict.broken_at, verdict.reason) == (3, "it was changed")


@pytest.mark.parametrize("seq", [1, 3])
def test_a_removed_entry_is_found(audit: Audit, engine: Engine, seq: int) -> None:
    fill(audit)
    tamper(engine, f"DELETE FROM audit_log WHERE seq = {seq}")  # noqa: S608
    assert audit.verify().broken_at == seq
    assert audit.verify().reason == "it is missing"


def test_two_entries_that_were_swapped_are_found(audit: Audit, engine: Engine) -> None:
    fill(audit)
    moves = ((2, 99), (3, 2), (99, 3))
    tamper(engine, *(f"UPDATE audit_log SET seq = {to} WHERE seq = {of}" for of, to in moves))  # noqa: S608
    assert audit.verify().broken_at == 2


def test_a_cut_off_end_is_found(audit: Audit, engine: Engine) -> None:
    fill(audit)
    tamper(engine, "DELETE FROM audit_log WHERE seq > 3")
    verdict = audit.verify()
    assert (verdict.broken_at, verdict.reason) == (4, "the log ends early: there were 5 entries")


def test_a_cut_off_end_is_found_though_its_record_was_changed_to_fit(audit: Audit, engine: Engine) -> None:
    entries = fill(audit)
    head = f"UPDATE audit_head SET seq = 3, hash = '{entries[2].hash}'"  # noqa: S608
    tamper(engine, "DELETE FROM audit_log WHERE seq > 3", head)
    assert "seal" in audit.verify().reason


def test_a_log_that_was_emptied_is_found(audit: Audit, engine: Engine) -> None:
    fill(audit)
    tamper(engine, "DELETE FROM audit_log")
    assert audit.verify().broken_at == 1


def test_a_missing_record_of_the_end_is_found(audit: Audit, engine: Engine) -> None:
    fill(audit)
    tamper(engine, "DELETE FROM audit_head")
    assert "missing" in audit.verify().reason


def test_a_chain_that_was_computed_anew_is_found(audit: Audit, engine: Engine, tmp_path: Path) -> None:
    fill(audit)
    (tmp_path / "other").mkdir()
    forged = Audit(open_tables(tmp_path / "other"), ServerSecret(b"m" * 32))
    fill(forged, 4)
    row = [*forged.entries()][-1]
    with engine.begin() as connection:
        unguard(connection)
        connection.execute(text("DELETE FROM audit_log"))
        for entry in forged.entries():
            columns = ", ".join(f'"{name}"' for name in FIELDS)
            values = ", ".join(f":{name}" for name in FIELDS)
            parameters = {name: getattr(entry, name) for name in FIELDS}
            connection.execute(text(f"INSERT INTO audit_log ({columns}) VALUES ({values})"), parameters)  # noqa: S608
        connection.execute(text(f"UPDATE audit_head SET seq = {row.seq}, hash = '{row.hash}'"))  # noqa: S608
    assert "seal" in audit.verify().reason


def test_an_older_copy_of_the_database_is_betrayed_by_a_noted_head(audit: Audit, engine: Engine) -> None:
    entries = fill(audit)
    assert audit.verify(f"3:{entries[2].hash}").broken_at is None
    assert audit.verify(f"7:{entries[2].hash}").reason == "the log ends early: 7 entries were noted"
    assert audit.verify(f"3:{entries[1].hash}").broken_at == 3


def test_a_noted_head_that_is_none_is_refused(audit: Audit) -> None:
    with pytest.raises(InvalidRequest):
        audit.verify("yesterday")


@pytest.mark.parametrize("change", ["UPDATE audit_log SET status = 'mallory'", "DELETE FROM audit_log"])
def test_the_database_itself_refuses_changes(audit: Audit, engine: Engine, change: str) -> None:
    fill(audit, 1)
    with pytest.raises(DBAPIError, match="only ever added to"), engine.begin() as connection:
        connection.execute(text(change))


@pytest.mark.slow_on_postgresql
def test_threads_append_one_after_another(audit: Audit) -> None:
    def append() -> None:
        for _ in range(10):
            audit.record("x", user="u", status="s")

    run_together(append, 8)
    assert audit.verify().entries == 80 and audit.verify().broken_at is None


def append_some(url: str) -> None:
    audit = Audit(open_database(url), SECRET)
    for _ in range(20):
        audit.record("x", user="u", status="s")


@pytest.mark.slow_on_postgresql
def test_processes_append_one_after_another(audit: Audit, engine: Engine) -> None:
    context = multiprocessing.get_context("spawn")
    url = engine.url.render_as_string(hide_password=False)
    processes = [context.Process(target=append_some, args=(url,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert audit.verify().entries == 60 and audit.verify().broken_at is None


def test_no_log_level_silences_it(audit: Audit) -> None:
    logging.disable(logging.CRITICAL)
    try:
        fill(audit, 1)
    finally:
        logging.disable(logging.NOTSET)
    assert audit.verify().entries == 1


NASTY = 'a\nUSER:root ACTION:delete\r\x1b[2J\u2028\u202egnp.exe,"x"\x00\ud800' + "y" * 5000


@pytest.mark.parametrize("style", ExportFormat)
def test_what_a_user_sends_cannot_begin_a_line(audit: Audit, style: ExportFormat) -> None:
    audit.record(NASTY, user=NASTY, input=NASTY, output=NASTY, status=NASTY, address=NASTY, job_id=NASTY)
    out = io.StringIO()
    write_entries(audit.entries(), style, out)
    lines = out.getvalue().splitlines()
    assert len(lines) == (1 if style is ExportFormat.JSONL else 2)
    assert not [c for c in out.getvalue() if not c.isprintable() and c != "\n"]
    assert audit.verify().broken_at is None


def test_an_export_in_json_can_be_verified_without_the_database(audit: Audit) -> None:
    fill(audit)
    out = io.StringIO()
    write_entries(audit.entries(), ExportFormat.JSONL, out)
    read = [AuditEntry(**json.loads(line)) for line in out.getvalue().splitlines()]
    assert all(entry.hash == entry.digest() for entry in read)
    assert [entry.previous for entry in read[1:]] == [entry.hash for entry in read[:-1]]


@pytest.mark.parametrize("formula", ["=HYPERLINK()", "+1", "-1", "@SUM(A1)"])
def test_a_spreadsheet_takes_nothing_for_a_formula(audit: Audit, formula: str) -> None:
    audit.record("x", user="u", status="s", input=formula)
    out = io.StringIO()
    write_entries(audit.entries(), ExportFormat.CSV, out)
    (row,) = csv.DictReader(io.StringIO(out.getvalue()))
    assert row["input"] == f"'{formula}"


def test_an_export_can_begin_after_an_entry(audit: Audit) -> None:
    fill(audit)
    assert [entry.seq for entry in audit.entries(after=3)] == [4, 5]
