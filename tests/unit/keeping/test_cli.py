"""The commands, run in this process on a data folder with real jobs in it."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from api.audit import Audit
from api.cli import app
from api.jobs.folders import Folders
from api.jobs.model import JobStatus
from api.jobs.store import JobFilter
from api.keeping.holdings import Holdings

Run = Callable[..., Result]


@pytest.fixture
def run(folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(folders.data))
    return lambda *argv: CliRunner().invoke(app, list(argv))


def said(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_backup_is_written_listed_checked_drilled_and_told_of(run: Run, folders: Folders) -> None:
    made = said(run("backup", "--kind", "full", "--json"))
    status = json.loads((folders.data / "backup-status.json").read_bytes())
    assert (status["kind"], status["bytes"]) == ("full", made["bytes"])
    assert abs(datetime.now(UTC).timestamp() - status["finished_at"]) < 600
    path = folders.data / "backups" / made["name"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one["name"] for one in said(run("backup", "--list", "--json"))] == [made["name"]]
    assert run("backup", "--check").exit_code == 0
    drilled = said(run("drill"))
    assert drilled["passed"] and drilled["jobs"] == 3 and drilled["faults"] == 0
    assert json.loads((folders.data / "drill-status.json").read_bytes())["rto_s"] == drilled["rto_s"]
    path.write_bytes(path.read_bytes()[:-200])
    for command in (("backup", "--check"), ("drill",)):
        broken = run(*command)
        assert broken.exit_code == 1 and "damaged" in broken.stderr and "Traceback" not in broken.stderr
    assert not list(folders.data.glob(".keeping-*"))


def test_verify_exits_with_6_where_something_is_wrong(run: Run, holdings: Holdings, folders: Folders) -> None:
    assert run("verify").exit_code == 0
    job = holdings.store.find(JobFilter(statuses=(JobStatus.SUCCEEDED,)))[0]
    (folders.result(job.id) / "stems" / "drums.flac").unlink()
    broken = run("verify")
    assert broken.exit_code == 6 and f"missing: outputs/{job.id}/stems/drums.flac" in broken.stderr


def test_holds_are_placed_listed_and_released(run: Run) -> None:
    placed = run("holds", "place", "owner", "owner", "--reason", "case 12")
    assert json.loads(run("holds", "list").stdout)["id"] == placed.stdout.strip()
    refused = run("erasure", "run", "--owner", "owner")
    assert refused.exit_code == 1 and "legal hold" in refused.stderr
    assert run("holds", "release", placed.stdout.strip()).exit_code == 0
    assert run("holds", "list").stdout == ""


def test_retention_lists_before_it_deletes(
    run: Run, holdings: Holdings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with holdings.engine.begin() as connection:
        connection.execute(text("UPDATE jobs SET finished_at = 1e9, created_at = 1e9 WHERE finished_at > 0"))
    listed = run("retention", "--dry-run")
    ids = {line.split()[0] for line in listed.stdout.splitlines()}
    assert len(ids) == 2 and "age" in listed.stdout
    assert holdings.store.counts()[JobStatus.EXPIRED] == 0
    assert "2 jobs" in run("retention").stdout
    assert holdings.store.counts()[JobStatus.EXPIRED] == 2
    assert run("verify").exit_code == 0


def test_everything_that_was_done_is_in_the_audit_log(
    run: Run, holdings: Holdings, secret: Any, tmp_path: Path
) -> None:
    run("backup")
    hold = run("holds", "place", "job", "some-job", "--reason", "case").stdout.strip()
    run("holds", "release", hold)
    run("erasure", "export", "--subject", "person 1", "--to", str(tmp_path / "all.zip"))
    run("erasure", "run", "--subject", "person 1")
    done = {entry.action for entry in Audit(holdings.engine, secret).entries()}
    assert {"backup", "hold.place", "hold.release", "export", "erase", "backup.erase"} <= done


def test_a_checkpoint_vouches_for_the_log_up_to_it(
    run: Run, holdings: Holdings, secret: Any, tmp_path: Path
) -> None:
    audit = Audit(holdings.engine, secret)
    audit.record("process", user="u", status="accepted")
    path = tmp_path / "checkpoint.json"
    path.write_text(run("audit", "checkpoint").stdout)
    audit.record("process", user="u", status="accepted")
    assert run("audit", "verify-checkpoint", str(path)).exit_code == 0
    forged = {**json.loads(path.read_text()), "entries": 7}
    (tmp_path / "forged.json").write_text(json.dumps(forged))
    assert run("audit", "verify-checkpoint", str(tmp_path / "forged.json")).exit_code == 1
    with holdings.engine.begin() as connection:
        for change in ("update", "delete"):
            connection.execute(text(f"DROP TRIGGER audit_log_no_{change}"))
        connection.execute(text("DELETE FROM audit_log WHERE seq > 1"))
        connection.execute(text("DELETE FROM audit_head"))
    assert run("audit", "verify-checkpoint", str(path)).exit_code == 6
    said_no = run("audit", "checkpoint")
    assert said_no.exit_code == 6 and "signature" not in said_no.stdout


def test_reports_say_what_there_is(run: Run, folders: Folders, holdings: Holdings) -> None:
    sick = run("report", "health")
    assert sick.exit_code == 6 and "backup: there is none" in json.loads(sick.stdout)["wrong"]
    run("backup")
    well = json.loads(run("report", "health").stdout)
    assert well["wrong"] == ["workers: there is none, and jobs wait"] and well["queued"] == 1
    (folders.logs / "api.log").write_text(
        json.dumps({"at": datetime.now(UTC).isoformat(), "level": "error", "action": "sweep_failed"})
        + "\nno json\n"
        + json.dumps({"at": "2020-01-01T00:00:00+00:00", "level": "error", "action": "old"})
        + "\n"
    )
    assert said(run("report", "errors"))["logged"] == {"sweep_failed": 1}
    disk = said(run("report", "disk"))
    assert disk["holds"]["results"] > 0 and disk["bytes_a_day"] > 0 and disk["days_until_full"] is None
    capacity = said(run("report", "capacity"))
    assert capacity["jobs"] == 2 and capacity["busiest_hour_jobs"] >= 1
    assert said(run("report", "cost", "--days", "1"))["archive_candidates"] == 0
    with holdings.engine.begin() as connection:
        connection.execute(text("UPDATE jobs SET finished_at = 1e9, created_at = 1e9 WHERE finished_at > 0"))
    unused = said(run("report", "cost"))
    assert unused["archive_candidates"] == 2 and unused["archive_bytes"] > 0


def test_vulnerabilities_that_cannot_be_asked_for_are_not_said_to_be_none(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    missing = run("report", "dependencies")
    assert missing.exit_code == 1 and "not installed" in missing.stderr
    program = tmp_path / "pip-audit"
    program.write_text("#!/bin/sh\necho 'no route to host' >&2\nexit 1\n")
    program.chmod(0o755)
    away = run("report", "dependencies")
    assert away.exit_code == 1 and "nothing is known of vulnerabilities (no route to host)" in away.stderr


def test_a_repository_needs_a_password(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_BACKUP_REPOSITORY", "somewhere")
    refused = run("backup")
    assert refused.exit_code == 2 and "PIPELINE_BACKUP_PASSWORD" in refused.stderr
